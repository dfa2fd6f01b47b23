import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import { FeatureSet } from '../../spec/features.ts';
import { connectPci } from './connect.ts';
import { openSample, type Seen, tapped } from './driver.fixture.ts';
import { PciTransport } from './driver.ts';
import { virtioDeviceId } from './function-driver.ts';
import { sampleDevice } from './pci.fixture.ts';
import { pci_header } from './pci-registers.ts';
import { commonRegisters, noVector } from './registers.ts';
import { vendorData } from './vendor-data.ts';

const commonNames = (seen: readonly Seen[], kind: Seen['kind']): string[] =>
  seen.flatMap((one) =>
    one.kind === kind && one.bar === 0 && one.offset < 64
      ? [commonRegisters.find(one.offset, one.width)?.name ?? `?${one.offset}:${one.width}`]
      : [],
  );

describe('a driver that meets a PCI function', () => {
  // @holds 4.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
  it('knows virtio devices by vendor and device id, whatever the revision and the subsystem', async () => {
    const id = (vendor: number, device: number, subsystem = 0) =>
      virtioDeviceId({ vendor, device, subsystem });
    expect([id(0x1af4, 0x1040), id(0x1af4, 0x1041), id(0x1af4, 0x107f)]).toEqual([0, 1, 63]);
    expect([id(0x1af4, 0x1000, 1), id(0x1af4, 0x1009, 9)]).toEqual([1, 9]);
    expect([id(0x1af4, 0x0fff), id(0x1af4, 0x1080), id(0x1af5, 0x1041)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    const pciFunction = { revision: 200, subsystemVendorId: 0x8086, subsystemId: 0x1234 };
    expect((await tapped({}, { pciFunction }).open()).deviceId).toBe(20);
  });

  it('refuses one that is no virtio device', async () => {
    const read = ({ offset, kind }: Seen) => (kind === 'configRead' && offset === 0 ? 0x8086 : undefined);
    await expect(tapped({ read }).open()).rejects.toThrow(UsageError);
  });

  it('sizes and places every BAR at a multiple of its size, and lets it answer', async () => {
    const { open, pciFunction, seen } = tapped(
      {},
      { pciFunction: { layout: { isr: [{ bar: 4, kind: 'io' }] } } },
    );
    await open();
    for (const { address, size, enabled } of pciFunction.bars) {
      expect(enabled).toBe(true);
      expect(address % size).toBe(0);
    }
    expect(pciFunction.configRead(pci_header.field.command.offset, 2)).toBe(7);
    // Nothing answered while the sizes were asked for.
    const firstOnes = seen.findIndex(({ kind, value }) => kind === 'configWrite' && value === 0xffff_ffff);
    expect(
      seen
        .slice(0, firstOnes)
        .some(({ kind, offset, value }) => kind === 'configWrite' && offset === 4 && (value & 3) === 0),
    ).toBe(true);
  });

  it('leaves BARs where somebody has put them', async () => {
    const { access, open, pciFunction } = tapped();
    await access.configWrite(0x10, 4, 0xc000_0000);
    await access.configWrite(0x14, 4, 0x20);
    await access.configWrite(0x18, 4, 0xd000_0000);
    await PciTransport.open(access);
    expect(pciFunction.bars.map(({ address }) => address)).toEqual([0x20_c000_0000, 0xd000_0000]);
    expect(open).toBeTypeOf('function');
  });

  it('takes back what it was given when it closes', async () => {
    const { transport, pciFunction } = await connectPci(sampleDevice());
    const device = await openSample(transport);
    await device.close();
    expect(pciFunction.core.status).toBe(0);
    expect(pciFunction.configRead(4, 2) & 4).toBe(0);
    expect(pciFunction.configRead(0x9a, 2) & 0x8000).toBe(0);
  });
});

describe('a driver at the registers', () => {
  // @holds 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
  // @holds 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('accesses each field in its own width, writes none that it may only read, and enables a queue last', async () => {
    const { open, seen, errors } = tapped({}, { pciFunction: { notifConfigData: (queue) => queue + 5 } });
    const device = await openSample(await open());
    await device.queue('first').request(Uint8Array.of(1), 4);
    await device.writeConfig('knob', 7);
    await device.refreshConfig();
    const written = commonNames(seen, 'barWrite');
    const readOnly = commonRegisters.registers
      .filter(({ access }) => access === 'read-only')
      .map(({ name }) => name);
    expect(written.filter((name) => name.startsWith('?'))).toEqual([]);
    expect(commonNames(seen, 'barRead').filter((name) => name.startsWith('?'))).toEqual([]);
    expect(written.filter((name) => readOnly.some((one) => one === name))).toEqual([]);
    const enable = written.lastIndexOf('queue_enable');
    expect(written.slice(0, enable)).toEqual(
      expect.arrayContaining(['queue_size', 'queue_desc_lo', 'queue_device_hi', 'queue_msix_vector']),
    );
    expect(written.slice(enable + 1)).toEqual(['device_status']);
    const config = seen.filter(({ bar, offset }) => bar === 0 && offset >= 8192 && offset < 12288);
    expect(config.every(({ offset, width }) => (offset - 8192) % width === 0 || offset - 8192 >= 14)).toBe(
      true,
    );
    expect(errors).toEqual([]);
    expect(device.config).toMatchObject({ capacity: 0x1122334455667788n, short: 0xabcd, knob: 7, flag: 9 });
  });

  it('writes and reads all 128 feature bits', async () => {
    const { transport, pciFunction } = await connectPci(sampleDevice());
    expect((await transport.readDeviceFeatures()).bits()).toEqual(pciFunction.core.offered.bits());
    await transport.writeDriverFeatures(FeatureSet.of([0, 50, 127]));
    expect(pciFunction.core.driverFeatures.bits()).toEqual([0, 50, 127]);
  });

  // @holds 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('waits until the status reads as 0 before it initialises the device, and a queue until its reset is done', async () => {
    let slow = 0;
    let slowQueue = 0;
    const read = ({ kind, bar, offset }: Seen): number | undefined => {
      if (kind !== 'barRead' || bar !== 0) return undefined;
      if (offset === 20 && slow > 0) return slow-- && 0x0f;
      if (offset === 58 && slowQueue > 0) return slowQueue-- && 1;
      return undefined;
    };
    const { open, seen } = tapped({ read }, {}, { reserved: ['RING_RESET'] });
    const transport = await open();
    slow = 5;
    const device = await openSample(transport);
    const status = seen.filter(({ bar, offset }) => bar === 0 && offset === 20);
    expect(status.slice(0, 8).map(({ kind, value }) => [kind, value])).toEqual([
      ['barWrite', 0],
      ...Array(5).fill(['barRead', 0x0f]),
      ['barRead', 0],
      ['barWrite', 1],
    ]);
    slowQueue = 3;
    await device.resetQueue('first');
    const resets = seen.filter(({ bar, offset }) => bar === 0 && offset === 58);
    expect(resets.map(({ kind, value }) => [kind, value])).toEqual([
      ['barWrite', 1],
      ...Array(3).fill(['barRead', 1]),
      ['barRead', 0],
    ]);
    const queue = await device.enableQueue('first', 0, 8);
    await expect(queue.request(Uint8Array.of(1), 4)).resolves.toHaveLength(0);
    const enables = seen.filter(({ kind, bar, offset }) => kind === 'barWrite' && bar === 0 && offset === 28);
    expect(enables.map(({ value }) => value)).toEqual([1, 1]);
  });

  // @holds 4.1.4.3.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('writes no size that its ring may not have', async () => {
    for (const packed of [false, true]) {
      const { open, seen, errors } = tapped({}, {}, { reserved: ['RING_PACKED'] });
      const device = await openSample(await open(), packed ? ['VERSION_1', 'RING_PACKED'] : ['VERSION_1']);
      await device.enableQueue('second', 0, 77);
      const sizes = seen.filter(({ kind, bar, offset }) => kind === 'barWrite' && bar === 0 && offset === 24);
      expect(sizes.map(({ value }) => value)).toEqual([16, packed ? 77 : 64]);
      expect(errors).toEqual([]);
    }
  });

  it('lets no two tasks meet in the registers that select', async () => {
    const { transport } = await connectPci(sampleDevice());
    const [features, ...sizes] = await Promise.all([
      transport.readDeviceFeatures(),
      ...[0, 1, 2, 3].map((index) => transport.queueMaxSize(index)),
    ]);
    expect(features.has(127)).toBe(true);
    expect(sizes).toEqual([64, 64, 64, 0]);
  });

  // @holds 4.1.4.8.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Vendor data capability
  it('shows vendor data, reads nothing of it but whose it is, and writes none', async () => {
    const pciFunction = { capabilities: [vendorData(0x1234, new Uint8Array(20))] };
    const { open, seen } = tapped({}, { pciFunction });
    const transport = await open();
    await openSample(transport);
    const [data] = transport.vendorData;
    expect(data).toMatchObject({ vendorId: 0x1234, length: 28 });
    const at = data?.offset ?? 0;
    const touched = seen.filter(({ bar, offset }) => bar === -1 && offset >= at + 6 && offset < at + 28);
    expect(touched).toEqual([]);
  });
});

describe('a driver that kicks', () => {
  // @holds 4.1.5.2.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Available Buffer Notifications
  it('sends 16 or 32 bits, of the queue’s index or of its queue_notif_config_data, to the queue’s address', async () => {
    for (const data of [false, true]) {
      for (const configData of [false, true]) {
        const pciFunction = configData ? { notifConfigData: (queue: number) => 0x700 + queue } : {};
        const { open, seen, errors } = tapped({}, { pciFunction });
        const reserved = [
          'VERSION_1',
          ...(data ? ['NOTIFICATION_DATA'] : []),
          ...(configData ? ['NOTIF_CONFIG_DATA'] : []),
        ];
        const transport = await open();
        // The names are of reserved features; an array of conditional parts forgets that.
        const device = await openSample(transport, reserved as NonNullable<Parameters<typeof openSample>[1]>);
        const kicks = () => seen.filter(({ kind }) => kind === 'barWriteNow');
        await device.queue('first').request(Uint8Array.of(1), 4);
        await device.queue('first').request(Uint8Array.of(1), 4);
        const name = configData ? 0x700 : 0;
        expect(kicks().map(({ offset, width, value }) => [offset, width, value])).toEqual([
          [12288, data ? 4 : 2, data ? 0x1_0000 + name : name],
          [12288, data ? 4 : 2, data ? 0x2_0000 + name : name],
        ]);
        expect(errors).toEqual([]);
      }
    }
  });

  it('has no address for a queue that was never enabled', async () => {
    const { transport } = await connectPci(sampleDevice());
    expect(() => transport.kick(0, undefined)).toThrow(UsageError);
  });
});

describe('a driver’s interrupts', () => {
  const used = async (options: Parameters<typeof tapped>[1] & { readonly vectors?: number } = {}) => {
    const changes: number[] = [];
    const tap = tapped({}, options, { serve: { first: () => {}, second: () => {} } });
    const transport = await tap.open();
    const device = await openSample(transport, undefined, () => void changes.push(1));
    const second = await device.enableQueue('second', 1);
    await device.queue('first').request(Uint8Array.of(1), 4);
    await second.request(Uint8Array.of(1), 4);
    tap.device.updateConfig({ short: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { ...tap, transport, interrupts: transport.interrupts, changes: changes.length };
  };

  it('have a vector of their own for each queue and for the configuration', async () => {
    expect(await used()).toMatchObject({
      interrupts: { choice: 'msix', vectors: 3 },
      changes: 1,
      errors: [],
    });
  });

  // @holds 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('share vectors when the table is small, down to one', async () => {
    const two = await used({ pciFunction: { msixVectors: 2 } });
    expect(two).toMatchObject({ interrupts: { choice: 'msix', vectors: 2 }, changes: 1, errors: [] });
    const one = await used({ pciFunction: { msixVectors: 1 } });
    expect(one).toMatchObject({ interrupts: { choice: 'msix', vectors: 1 }, errors: [] });
    // A vector that is shared tells of the configuration whenever it tells of a queue.
    expect(one.changes).toBeGreaterThan(0);
    expect(await used({ vectors: 1 })).toMatchObject({ interrupts: { choice: 'msix', vectors: 1 } });
  });

  // @holds 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('work with the largest table', async () => {
    const { interrupts, changes } = await used({ pciFunction: { msixVectors: 0x800 } });
    expect([interrupts, changes]).toEqual([{ choice: 'msix', vectors: 3 }, 1]);
  });

  // @holds 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('share a vector when another is refused, and fall back on INTx when all are', async () => {
    const refused = await used({ pciFunction: { acceptVector: (vector) => vector !== 1 } });
    expect(refused).toMatchObject({ interrupts: { choice: 'msix', vectors: 2 }, errors: [] });
    expect(refused.changes).toBeGreaterThan(0);
    const none = await used({ pciFunction: { acceptVector: () => false } });
    expect(none).toMatchObject({ interrupts: { choice: 'intx', vectors: 0 }, changes: 1, errors: [] });
  });

  // @holds 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('read every mapping back, and map nothing outside the table', async () => {
    const { seen } = await used({ pciFunction: { msixVectors: 2 } });
    for (const register of [
      commonRegisters.register.queue_msix_vector,
      commonRegisters.register.config_msix_vector,
    ]) {
      const accesses = seen.filter(({ bar, offset }) => bar === 0 && offset === register.offset);
      const writes = accesses.filter(({ kind }) => kind === 'barWrite');
      expect(writes.length).toBeGreaterThan(0);
      expect(writes.every(({ value }) => value < 2 || value === noVector)).toBe(true);
      for (const [index, { kind, value }] of accesses.entries()) {
        if (kind === 'barWrite') expect(accesses[index + 1]).toMatchObject({ kind: 'barRead', value });
      }
    }
  });

  it('fall back on INTx in the middle, for the queues that had a vector as well', async () => {
    let refuse = false;
    const { open } = tapped(
      {},
      { pciFunction: { acceptVector: () => !refuse } },
      { serve: { first: () => {}, second: () => {} } },
    );
    const transport = await open();
    const device = await openSample(transport);
    await device.queue('first').request(Uint8Array.of(1), 4);
    refuse = true;
    const second = await device.enableQueue('second', 0);
    expect(transport.interrupts.choice).toBe('intx');
    await device.queue('first').request(Uint8Array.of(1), 4);
    await expect(second.request(Uint8Array.of(1), 4)).resolves.toHaveLength(0);
  });

  // @holds 4.1.4.5.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('leave the ISR status alone with MSI-X, and need it without', async () => {
    const isrReads = ({ seen }: { seen: readonly Seen[] }) =>
      seen.filter(({ kind, bar, offset }) => kind === 'barRead' && bar === 0 && offset === 4096);
    expect(isrReads(await used())).toEqual([]);
    const line = await used({ vectors: 0 });
    expect(line).toMatchObject({ interrupts: { choice: 'intx' }, changes: 1, errors: [] });
    expect(isrReads(line).length).toBeGreaterThan(0);
    expect(isrReads(line).every(({ width }) => width === 1)).toBe(true);
  });

  // @holds 4.1.5.4.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Notification of Device Configuration Changes
  it('tell of used buffers and of the configuration in one', async () => {
    for (const options of [{ vectors: 0 }, { pciFunction: { msixVectors: 1 } }]) {
      let changes = 0;
      const { open, device: sampled } = tapped({}, options, {
        serve: {
          first: () => sampled.updateConfig({ short: 3 }),
        },
      });
      const device = await openSample(await open(), undefined, () => void changes++);
      await device.queue('first').request(Uint8Array.of(1), 4);
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(changes).toBe(1);
    }
  });

  it('are mapped anew after a reset, with the vectors that there were', async () => {
    const { transport } = await connectPci(sampleDevice({ serve: { first: () => {} } }));
    for (let round = 0; round < 3; round++) {
      const device = await openSample(transport);
      await device.queue('first').request(Uint8Array.of(1), 4);
      expect(transport.interrupts).toEqual({ choice: 'msix', vectors: 2 });
    }
  });

  it('cannot be had from an access that has none', async () => {
    const { access } = tapped({}, { pciFunction: { msixVectors: 0 } });
    const { listenLine: _, ...silent } = access;
    await expect(
      PciTransport.open(silent, { room: { memory: { start: 0xe000_0000, length: 2 ** 28 } } }),
    ).rejects.toThrow(UsageError);
  });
});

describe('a driver behind the PCI_CFG window', () => {
  // @holds 4.1.4.9.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
  it('drives the device with no BAR at all, by aligned accesses inside the virtio structures', async () => {
    const { access, seen, errors, pciFunction } = tapped();
    const transport = await PciTransport.open(access, { window: true });
    const changes: number[] = [];
    const device = await openSample(transport, undefined, () => void changes.push(1));
    await device.queue('first').request(Uint8Array.of(1), 4);
    expect(device.config.capacity).toBe(0x1122334455667788n);
    expect(pciFunction.bars.every(({ enabled }) => !enabled)).toBe(true);
    expect(seen.some(({ bar }) => bar >= 0)).toBe(false);
    const { common, isr, device: config, notify } = transport.capabilities;
    const structures = [common, isr, config, notify].flatMap((one) => (one === undefined ? [] : [one]));
    let aim = { bar: -1, offset: -1, length: 0 };
    let looks = 0;
    for (const { kind, offset, width, value } of seen) {
      const within = offset - 0x84;
      if (kind === 'configWrite' && within === 4) aim = { ...aim, bar: value };
      if (kind === 'configWrite' && within === 8) aim = { ...aim, offset: value };
      if (kind === 'configWrite' && within === 12) aim = { ...aim, length: value };
      if (within !== 16) continue;
      looks++;
      expect(width).toBe(aim.length);
      expect(aim.offset % aim.length).toBe(0);
      expect(
        structures.some(
          (one) =>
            one.bar === aim.bar &&
            aim.offset >= one.offset &&
            aim.offset + aim.length <= one.offset + one.length,
        ),
      ).toBe(true);
    }
    expect(looks).toBeGreaterThan(30);
    expect(errors).toEqual([]);
  });

  it('says so when there is none', async () => {
    const read = ({ kind, offset }: Seen) =>
      kind === 'configRead' && offset === 0x84 + 3 ? 0x33 : undefined;
    await expect(tapped({ read }).open({ window: true })).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });
});
