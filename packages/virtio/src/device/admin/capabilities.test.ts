import { expect, it } from 'vitest';
import { virtio_admin_cmd_cap_get_data } from '../../spec/admin.ts';
import { decodeBitmap } from '../../spec/bitmap.ts';
import { SriovGroup } from '../../transports/pci/parts/sriov-group.ts';
import { saveDevice } from '../saving.ts';
import { failure, Owner, offeredRoom, ok, roomCapability, shelfKind } from './owner.fixture.ts';
import { createObject, setRoom } from './resource.fixture.ts';

const idData = (id: number): Uint8Array => virtio_admin_cmd_cap_get_data.encode({ id });

// @holds 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
it('shows its capabilities by id and by value', async () => {
  const owner = await Owner.start({ groups: [new SriovGroup([])], deviceParts: { get: 3, set: 2 } });
  await owner.useAll();
  const list = await owner.send({ opcode: 'CAP_ID_LIST_QUERY', writable: 8 + 512 });
  expect(list.result.length).toBe((0x840 / 64) * 8);
  expect(decodeBitmap(list.result)).toEqual([0, 0x800]);
  const parts = await owner.send({ opcode: 'DEVICE_CAP_GET', data: idData(0) });
  expect([...parts.result]).toEqual([3, 2, 0, 0, 0, 0, 0, 0]);
  const room = await owner.send({ opcode: 'DEVICE_CAP_GET', data: idData(0x800) });
  expect(roomCapability.layout.read(new DataView(room.result.buffer))).toMatchObject(offeredRoom);
});

// @holds 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
it('takes limits and flags up to its own, in any field, and nothing beyond', async () => {
  const owner = await Owner.start();
  await owner.useAll();
  for (const value of [
    offeredRoom,
    {},
    { shelves: 1, kinds: 4n },
    { kinds: 1n << 40n, sizes: 2, colour: 0x100 },
  ]) {
    expect(await setRoom(owner, value)).toMatchObject(ok);
  }
  for (const value of [
    { shelves: 5 },
    { books: 0xffff_ffff },
    { kinds: 2n },
    { kinds: 1n << 41n },
    { sizes: 3 },
    { colour: 2 },
  ]) {
    expect(await setRoom(owner, value)).toMatchObject(failure('EINVAL', 'INVALID_FIELD'));
  }
});

// @holds 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
it('knows no other id, and no group but its own', async () => {
  const group = new SriovGroup([]);
  const owner = await Owner.start({ groups: [group] });
  group.enableVfs();
  await owner.useAll();
  await owner.useAll(1);
  for (const opcode of ['DEVICE_CAP_GET', 'DRIVER_CAP_SET'] as const) {
    for (const id of [1, 0x801, 0xffff]) {
      expect(await owner.send({ opcode, data: idData(id) })).toMatchObject(failure('ENXIO', 'INVALID_FIELD'));
    }
  }
  for (const opcode of ['CAP_ID_LIST_QUERY', 'DEVICE_CAP_GET', 'DRIVER_CAP_SET'] as const) {
    expect(await owner.send({ opcode, group: 1 })).toMatchObject(failure('EINVAL', 'INVALID_OPCODE'));
  }
});

// @holds 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
it('has no room for objects before the driver has set its limits, nor after a reset', async () => {
  const owner = await Owner.start();
  await owner.useAll();
  expect(await createObject(owner, shelfKind, 0, {})).toMatchObject(failure('EINVAL', 'INVALID_FIELD'));
  await setRoom(owner, { shelves: 2 });
  expect(await createObject(owner, shelfKind, 0, {})).toMatchObject(ok);
  owner.bus.pciFunction.core.reset();
  expect(saveDevice(owner.bus.pciFunction.core).administration).toMatchObject({
    capabilities: [],
    objects: [],
  });
});

// @holds 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
it('is busy when a smaller limit would leave objects outside', async () => {
  const owner = await Owner.start();
  await owner.useAll();
  await setRoom(owner, { shelves: 3 });
  await createObject(owner, shelfKind, 1, {});
  expect(await setRoom(owner, {})).toMatchObject(failure('EBUSY', 'INVALID_COMMAND'));
  expect(await setRoom(owner, { shelves: 1 })).toMatchObject(failure('EBUSY', 'INVALID_COMMAND'));
  expect(await setRoom(owner, { shelves: 2 })).toMatchObject(ok);
});
