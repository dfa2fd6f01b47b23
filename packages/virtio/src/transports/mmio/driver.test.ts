import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostError, PeerError, UsageError, VirtioError } from '../../errors.ts';
import { FeatureSet } from '../../spec/features.ts';
import { sampleDevice } from '../pci/pci.fixture.ts';
import { connectMmio } from './connect.ts';
import { openSample, type Seen, settle, type Tap, tapped } from './driver.fixture.ts';
import { MmioTransport } from './driver.ts';
import { identifyMmio } from './identify.ts';
import { configOffset, mmioRegisters } from './registers.ts';

/** A tap that answers reads of one register. */
const answering = (name: string, value: number | ((seen: Seen) => number | undefined)): Tap => ({
  read: (seen) => (seen.name !== name ? undefined : typeof value === 'number' ? value : value(seen)),
});

describe('a driver that meets a window', () => {
  // @holds 4.2.3.1.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Device Initialization
  it('reads MagicValue and Version, then DeviceID, and nothing else before it is opened', async () => {
    const { access, names } = tapped();
    expect(await identifyMmio(access)).toEqual({ version: 2, deviceId: 20 });
    expect((await MmioTransport.open(access)).deviceId).toBe(20);
    expect(names()).toEqual([...Array(2)].flatMap(() => ['MagicValue', 'Version', 'DeviceID']));
  });

  // @holds 4.2.3.1.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Device Initialization
  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it.each([
    ['another magic value', answering('MagicValue', 0), ['MagicValue']],
    ['no device in its place', answering('DeviceID', 0), ['MagicValue', 'Version', 'DeviceID']],
  ])('leaves one with %s alone, and says nothing', async (_what, tap, touched) => {
    const { access, names } = tapped(tap);
    expect(await identifyMmio(access)).toBeUndefined();
    expect(names()).toEqual(touched);
    await expect(MmioTransport.open(access)).rejects.toThrow(UsageError);
    expect(names()).toEqual([...touched, ...touched]);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('drives no version that it does not know', async () => {
    const { access, names } = tapped(answering('Version', 3));
    expect(await identifyMmio(access)).toEqual({ version: 3, deviceId: 0 });
    await expect(MmioTransport.open(access)).rejects.toThrow(/version 3/);
    expect(new Set(names())).toEqual(new Set(['MagicValue', 'Version']));
  });

  it('says of a legacy device what it is, and how to come by a modern one', async () => {
    const { access } = tapped(answering('Version', 1));
    await expect(MmioTransport.open(access)).rejects.toThrow(/version 1.*force-legacy=false/s);
  });
});

describe('a driver at the registers', () => {
  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('accesses each as 32 bits in its direction, and each field of the configuration in its width', async () => {
    const { access, seen, names, errors } = tapped();
    const device = await openSample(await MmioTransport.open(access));
    await device.queue('first').request(Uint8Array.of(1), 4);
    await device.writeConfig('knob', 7);
    await device.refreshConfig();
    await device.resetQueue('first');
    await device.enableQueue('first');
    await device.close();
    expect(names()).not.toContain('?');
    const only = (access: string): string[] =>
      mmioRegisters.registers.filter((one) => one.access === access).map(({ name }) => name);
    expect(names('write').filter((name) => only('read-only').includes(name))).toEqual([]);
    expect(names('read').filter((name) => only('write-only').includes(name))).toEqual([]);
    const fields = new Set(
      seen
        .filter(({ name }) => name === 'config')
        .map(({ offset, width }) => `${offset - configOffset}:${width}`),
    );
    expect([...fields].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))).toEqual([
      '0:4',
      '4:4',
      '8:1',
      '9:1',
      '10:1',
      '11:1',
      '12:1',
      '13:1',
      '14:2',
      '16:4',
      '20:4',
      '24:4',
      '28:1',
    ]);
    expect(device.config).toMatchObject({ capacity: 0x1122334455667788n, short: 0xabcd, knob: 7, flag: 9 });
    expect(errors).toEqual([]);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('selects a word of features before it reads or writes one', async () => {
    const { access, seen, window } = tapped();
    const transport = await MmioTransport.open(access);
    seen.length = 0;
    expect((await transport.readDeviceFeatures()).bits()).toEqual(window.core.offered.bits());
    await transport.writeDriverFeatures(FeatureSet.of([0, 50, 127]));
    expect(window.core.driverFeatures.bits()).toEqual([0, 50, 127]);
    const order = seen.map(({ name, value }) => (name.endsWith('Sel') ? `${name} ${value}` : name));
    const words = [0, 1, 2, 3];
    expect(order).toEqual([
      ...words.flatMap((word) => [`DeviceFeaturesSel ${word}`, 'DeviceFeatures']),
      ...words.flatMap((word) => [`DriverFeaturesSel ${word}`, 'DriverFeatures']),
    ]);
  });

  it('does not touch shared memory unless it is asked for it', async () => {
    const sharedMemory = [{ id: 3, address: 0x1_0000_1000, length: 0x2_0000_0000 }];
    const { access, names } = tapped({}, { sharedMemory });
    const transport = await MmioTransport.open(access);
    await (await openSample(transport)).refreshConfig();
    expect(names().filter((name) => name.startsWith('SHM'))).toEqual([]);
    expect(await transport.sharedMemory(3)).toEqual(sharedMemory[0]);
    expect(await transport.sharedMemory(4)).toBeUndefined();
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it.each([1, 2, 4, 8, 12, 0x8000])('takes no larger queue than the device has: %i', async (most) => {
    const { access, seen } = tapped({}, {}, { queues: { first: { size: most } } });
    const device = await openSample(await MmioTransport.open(access), ['VERSION_1']);
    const size = seen.find(({ name }) => name === 'QueueSize')?.value ?? 0;
    expect(size).toBe(Math.min(16, 2 ** Math.floor(Math.log2(most))));
    await device.queue('first').request(Uint8Array.of(), 8);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('makes a queue ready last of all, and leaves its set-up alone from then on', async () => {
    const { access, seen, names } = tapped();
    const device = await openSample(await MmioTransport.open(access));
    const setUp = (name: string): boolean => name === 'QueueSize' || /^Queue(Desc|Driver|Device)/.test(name);
    const ready = seen.findIndex(({ name, kind }) => name === 'QueueReady' && kind === 'write');
    expect(names().slice(0, ready).filter(setUp)).toHaveLength(7);
    await device.queue('first').request(Uint8Array.of(), 8);
    await device.close();
    expect(names().slice(ready).filter(setUp)).toEqual([]);
  });

  it('does not set up a queue twice, nor one that the device says is in use', async () => {
    const { access } = tapped();
    const transport = await MmioTransport.open(access);
    const areas = { size: 8, descriptor: 0x10000, driver: 0x11000, device: 0x12000 };
    await transport.enableQueue(0, areas);
    await expect(transport.enableQueue(0, areas)).rejects.toThrow(UsageError);
    const other = await MmioTransport.open(tapped(answering('QueueReady', 1)).access);
    await expect(other.enableQueue(0, areas)).rejects.toThrow(/in use/);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('stops a queue, and reads until it is', async () => {
    let slow = 0;
    const { access, seen, window } = tapped(
      answering('QueueReady', ({ value }) => (slow > 0 ? slow-- && 1 : value)),
    );
    const transport = await MmioTransport.open(access);
    await openSample(transport);
    seen.length = 0;
    slow = 3;
    await transport.stopQueue(0);
    expect(seen.map(({ kind, name, value }) => `${kind} ${name} ${value}`)).toEqual([
      'write QueueSel 0',
      'write QueueReady 0',
      ...[1, 1, 1, 0].map((value) => `read QueueReady ${value}`),
    ]);
    expect(window.core.queues[0]?.enabled).toBe(false);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('stops what the device uses when it is closed while open', async () => {
    const { access, seen } = tapped();
    const transport = await MmioTransport.open(access);
    await openSample(transport);
    seen.length = 0;
    await transport.close();
    expect(seen.map(({ kind, name, value }) => `${kind} ${name} ${value}`)).toEqual([
      'write QueueSel 0',
      'write QueueReady 0',
      'read QueueReady 0',
      'write Status 0',
    ]);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  // @holds 2.6.1.1.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
  it.each(['QueueReset', 'QueueReady'])('waits for the reset of a queue while %s is set', async (slow) => {
    let reading = 0;
    const held: number[] = [];
    const { access, seen } = tapped({
      read: ({ name }) => {
        if (name !== slow || reading === 0) return undefined;
        reading--;
        held.push(access.allocator.available);
        return 1;
      },
    });
    const device = await openSample(await MmioTransport.open(access));
    const before = access.allocator.available;
    seen.length = 0;
    reading = 5;
    await device.resetQueue('first');
    expect(held).toEqual(Array.from({ length: 5 }, () => before));
    expect(access.allocator.available).toBeGreaterThan(before);
    const last = seen.filter(({ kind, name }) => kind === 'read' && name.startsWith('QueueRe')).slice(-2);
    expect(last.map(({ name, value }) => [name, value])).toEqual([
      ['QueueReset', 0],
      ['QueueReady', 0],
    ]);
    await device.enableQueue('first', 0, 8);
    await device.queue('first').request(Uint8Array.of(), 8);
  });

  it('notifies with the index, and with what is next when that was negotiated', async () => {
    const plain = tapped();
    const device = await openSample(await MmioTransport.open(plain.access), ['VERSION_1']);
    await device.queue('first').request(Uint8Array.of(), 8);
    const kicks = ({ seen }: typeof plain): number[] =>
      seen.filter(({ kind }) => kind === 'writeNow').map(({ value }) => value);
    expect(kicks(plain)).toEqual([0]);
    const packed = tapped({}, {}, { reserved: ['NOTIFICATION_DATA', 'RING_PACKED'] });
    const other = await openSample(await MmioTransport.open(packed.access));
    await other.queue('first').request(Uint8Array.of(), 8);
    expect(kicks(packed)).toEqual([0x8001_0000]);
    expect(packed.errors).toEqual([]);
  });

  it('leaves the device reset when it is closed', async () => {
    const { transport, window } = await connectMmio(sampleDevice());
    const device = await openSample(transport);
    await device.close();
    expect(window.core.status).toBe(0);
  });
});

describe('a hostile device', () => {
  const opens = async (tap: Tap): Promise<unknown> =>
    openSample(await MmioTransport.open(tapped(tap).access)).catch((error: unknown) => error);

  it.each<[string, Tap]>([
    ['a queue of 32769', answering('QueueSizeMax', 32769)],
    ['a queue without end', answering('QueueSizeMax', 0xffff_ffff)],
    ['a status that never resets', answering('Status', 0x0f)],
    [
      'a generation that never stands still',
      answering('ConfigGeneration', () => Math.floor(Math.random() * 2 ** 32)),
    ],
    ['no VERSION_1', answering('DeviceFeatures', 0)],
    ['features that are not taken', answering('Status', ({ value }) => value & ~8)],
    ['no queue', answering('QueueSizeMax', 0)],
  ])('is named: %s', async (_what, tap) => {
    expect(await opens(tap)).toBeInstanceOf(PeerError);
  });

  it('is given up when it does not answer any more', async () => {
    let gone = false;
    const tap: Tap = { read: () => (gone ? 0xffff_ffff : undefined) };
    const transport = await MmioTransport.open(tapped(tap).access);
    gone = true;
    await expect(transport.readStatus()).rejects.toThrow(HostError);
  });

  it.each(['QueueReset', 'QueueReady'])('is named when %s stays set after a stop', async (name) => {
    let stuck = false;
    const { access } = tapped(answering(name, ({ value }) => (stuck ? 1 : value)));
    const transport = await MmioTransport.open(access);
    await openSample(transport);
    stuck = true;
    const stopping = name === 'QueueReset' ? transport.resetQueue(0) : transport.stopQueue(0);
    await expect(stopping).rejects.toMatchObject({ code: 'RESET_INCOMPLETE' });
  });

  it('has shared memory within 2^53, or none', async () => {
    const transport = await MmioTransport.open(
      tapped(answering('SHMBaseHigh', 0xffff_0000), { sharedMemory: [{ id: 1, address: 0, length: 64 }] })
        .access,
    );
    await expect(transport.sharedMemory(1)).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  it('that answers anything at all never hangs the driver, nor makes it fail in its own name', async () => {
    const anyAnswer = fc.oneof(
      fc.constantFrom(0, 1, 2, 0x0f, 0x0b, 20, 256, 0x7472_6976),
      fc.integer({ min: 0, max: 0xffff_ffff }),
    );
    const registers = mmioRegisters.registers.filter(({ access }) => access !== 'write-only');
    const anyAnswers = fc.dictionary(fc.constantFrom(...registers.map(({ name }) => name)), anyAnswer, {
      maxKeys: 4,
    });
    await fc.assert(
      fc.asyncProperty(anyAnswers, async (answers) => {
        const { access } = tapped({ read: ({ name }) => answers[name] });
        try {
          const device = await openSample(await MmioTransport.open(access));
          await settle();
          await device.close();
        } catch (error) {
          expect(error).toBeInstanceOf(VirtioError);
        }
      }),
      { numRuns: 200 },
    );
  }, 20_000);
});
