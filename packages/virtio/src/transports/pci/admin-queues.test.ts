import fc from 'fast-check';
import { expect, it } from 'vitest';
import { administer } from '../../device/admin/administer.ts';
import { library, Owner, reservedFor } from '../../device/admin/owner.fixture.ts';
import { device } from '../../device/device.ts';
import { open } from '../../driver/open.ts';
import { FeatureSet, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import { joinPci, room } from './connect.ts';
import { PciTransport } from './driver.ts';
import { commonRegisters } from './registers.ts';
import { restorePciFunction, savePciFunction } from './saving.ts';

const owner = () => administer(device(library, {}), { queues: { count: 2, size: 32 } });

// @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
it('stand behind the queues that num_queues counts', async () => {
  const { access, pciFunction } = joinPci(owner());
  const transport = await PciTransport.open(access, { room });
  expect(await transport.adminQueues()).toEqual({ index: 1, count: 2 });
  expect(pciFunction.core.adminQueueIndex).toBe(1);
  expect(pciFunction.core.offered.has(reservedFeatures.ADMIN_VQ)).toBe(true);
});

it('are not there for a driver that did not accept the feature', async () => {
  const { access, pciFunction } = joinPci(owner());
  const transport = await PciTransport.open(access, { room });
  await transport.writeStatus(status.ACKNOWLEDGE | status.DRIVER);
  await transport.writeDriverFeatures(FeatureSet.of([reservedFeatures.VERSION_1]));
  await transport.writeStatus(status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
  expect(await transport.queueMaxSize(0)).toBe(256);
  expect(await transport.queueMaxSize(1)).toBe(0);
  await transport.writeStatus(0);
  const opened = await open(transport, library, {
    features: [],
    reserved: reservedFor(true),
    adminQueues: 5,
  });
  expect(opened.adminQueues.map(({ index, size }) => [index, size])).toEqual([
    [1, 32],
    [2, 32],
  ]);
  expect(pciFunction.core.queues.map(({ enabled }) => enabled)).toEqual([true, true, true]);
});

// @holds 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
it('are believed only where no other queue can be', async () => {
  const wrong = [
    { index: 0, count: 1 },
    { index: 1, count: 0xffff + 1 },
    { index: 0xffff, count: 2 },
  ];
  for (const { index, count } of wrong) {
    const { access, pciFunction } = joinPci(owner());
    const { admin_queue_index, admin_queue_num } = commonRegisters.register;
    const lie = (offset: number): number | undefined =>
      offset === admin_queue_index.offset ? index : offset === admin_queue_num.offset ? count : undefined;
    const transport = await PciTransport.open(
      {
        ...access,
        barRead: async (bar, offset, width) =>
          (bar === 0 && width === 2 ? lie(offset) : undefined) ?? pciFunction.barRead(bar, offset, width),
      },
      { room },
    );
    const opening = open(transport, library, { features: [], reserved: reservedFor(false) });
    await expect(opening).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    expect(pciFunction.core.status & status.FAILED).not.toBe(0);
  }
});

it('go on after the device was saved and restored', async () => {
  const made = await Owner.start({ packed: true });
  await made.useAll();
  const saved = JSON.parse(JSON.stringify(savePciFunction(made.bus.pciFunction)));
  restorePciFunction(made.bus.pciFunction, saved);
  made.bus.pciFunction.resume();
  expect(await made.send({ opcode: 'CAP_ID_LIST_QUERY' })).toMatchObject({ status: 0 });
});

it('are refused where options contradict one another, and twice', () => {
  const plain = () => device(library, {});
  for (const options of [
    { queues: { count: 0 } },
    { queues: { size: 0 } },
    { deviceParts: { get: 256, set: 1 } },
    { groups: [{ type: 0, exists: true, member: () => undefined }] },
  ]) {
    expect(() => administer(plain(), options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  }
  const once = owner();
  expect(() => administer(once)).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
  const attached = plain();
  joinPci(attached);
  expect(() => administer(attached)).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
  fc.assert(
    fc.property(fc.anything(), (state) => {
      // Whatever JSON it is, it is taken or refused by name.
      const json = JSON.parse(JSON.stringify(state ?? null) ?? 'null');
      try {
        once.administration?.restore(json);
      } catch (error) {
        expect(error).toMatchObject({ code: 'BAD_STATE' });
      }
    }),
  );
});
