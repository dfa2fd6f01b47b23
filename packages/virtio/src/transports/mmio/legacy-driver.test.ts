import { describe, expect, it } from 'vitest';
import { open } from '../../driver/open.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { sample, sampleDevice } from '../pci/pci.fixture.ts';
import { connectMmio, joinMmio } from './connect.ts';
import { openSample, type Seen, type Tap, tapAccess } from './driver.fixture.ts';
import { emptyMmio } from './empty.ts';
import { identifyMmio } from './identify.ts';
import { type ConnectLegacyMmioOptions, connectLegacyMmio, joinLegacyMmio } from './legacy-connect.ts';
import { LegacyMmioTransport } from './legacy-driver.ts';
import { legacyMmioRegisters } from './legacy-registers.ts';
import { openMmio } from './open.ts';

const serving = () => sampleDevice({ serve: { first: () => {} } });

/** A driver's way to a sample device of version 1, with a tap in it. */
function tapped(tap: Tap = {}, options: ConnectLegacyMmioOptions = {}) {
  const errors: string[] = [];
  const seen: Seen[] = [];
  const { access, window } = joinLegacyMmio(serving(), {
    ...options,
    onError: (error) => void errors.push(error.message),
  });
  return { access: tapAccess(access, tap, seen, legacyMmioRegisters), window, seen, errors };
}

const answering = (register: string, value: number): Tap => ({
  read: ({ name }) => (name === register ? value : undefined),
});

describe('a driver of version 1', () => {
  it('says the page size before it uses a queue, places the queue last, and takes 32 features', async () => {
    const { access, seen, errors, window } = tapped();
    const device = await openSample(await LegacyMmioTransport.open(access));
    const written = seen.filter(({ kind }) => kind === 'write').map(({ name, value }) => `${name} ${value}`);
    const page = (window.core.queues[0]?.descriptor ?? 0) / 4096;
    expect(written.slice(written.indexOf('GuestPageSize 4096'))).toEqual([
      'GuestPageSize 4096',
      'QueueSize 16',
      'QueueAlign 4096',
      `QueuePFN ${page}`,
      'Status 7',
    ]);
    expect(window.core.driverFeatures.bits().every((bit) => bit < 32)).toBe(true);
    expect(device.config).toMatchObject({ capacity: 0x1122334455667788n, short: 0xabcd, flag: 9 });
    await device.queue('first').request(Uint8Array.of(1), 8);
    await device.writeConfig('knob', 7);
    expect((await device.refreshConfig()).knob).toBe(7);
    await device.close();
    expect(errors).toEqual([]);
    expect(seen.filter(({ name }) => name === '?')).toEqual([]);
    const again = await openSample(await LegacyMmioTransport.open(access));
    await again.queue('first').request(Uint8Array.of(1), 8);
  });

  it("uses rings and configuration of the guest's order of bytes", async () => {
    const { transport } = await connectLegacyMmio(serving(), { endian: 'big' });
    const device = await openSample(transport);
    expect(device.config).toMatchObject({ capacity: 0x1122334455667788n, short: 0xabcd });
    await device.writeConfig('knob', 0x0102_0304);
    expect((await device.refreshConfig()).knob).toBe(0x0102_0304);
    await device.queue('first').request(Uint8Array.of(1), 8);
  });

  it('stops a queue with page 0, and cannot reset one', async () => {
    const { access, seen, window } = tapped();
    const transport = await LegacyMmioTransport.open(access);
    await openSample(transport);
    await expect(transport.resetQueue(0)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    seen.length = 0;
    await transport.stopQueue(0);
    expect(seen.map(({ kind, name, value }) => `${kind} ${name} ${value}`)).toEqual([
      'write QueueSel 0',
      'write QueuePFN 0',
      'read QueuePFN 0',
    ]);
    expect(window.core.queues[0]?.enabled).toBe(false);
  });

  it('places no queue where no page number leads', async () => {
    const transport = await LegacyMmioTransport.open(tapped().access);
    for (const descriptor of [0, 4097, 2 ** 44]) {
      const areas = { size: 8, descriptor, driver: descriptor + 128, device: descriptor + 4096 };
      await expect(transport.enableQueue(0, areas)).rejects.toThrow(UsageError);
    }
  });

  it.each<[string, Tap]>([
    ['a queue without end', answering('QueueSizeMax', 0xffff_ffff)],
    ['a queue that is in use', answering('QueuePFN', 7)],
    ['a status that never resets', answering('Status', 7)],
    ['no queue', answering('QueueSizeMax', 0)],
  ])('names what a hostile device does: %s', async (_what, tap) => {
    const transport = await LegacyMmioTransport.open(tapped(tap).access);
    await expect(openSample(transport)).rejects.toThrow(PeerError);
  });
});

describe('openMmio', () => {
  it('drives whichever version there is', async () => {
    const modern = joinMmio(serving());
    const legacy = joinLegacyMmio(serving());
    for (const { access, version } of [
      { access: modern.access, version: 2 },
      { access: legacy.access, version: 1 },
    ]) {
      expect(await identifyMmio(access)).toEqual({ version, deviceId: 20 });
      const device = await open(await openMmio(access), sample, { features: ['LOW'] });
      await device.queue('first').request(Uint8Array.of(1), 8);
      await device.close();
    }
  });

  it('leaves each version to its own transport', async () => {
    const { access } = await connectMmio(serving());
    await expect(LegacyMmioTransport.open(access)).rejects.toThrow(/version 2/);
  });

  it('finds nothing in a place that is empty', async () => {
    const { access } = joinMmio(serving());
    const place = {
      ...access,
      read: async (offset: number, width: number) => emptyMmio.read(offset, width),
      write: async (offset: number, width: number, value: number) => emptyMmio.write(offset, width, value),
    };
    expect(await identifyMmio(place)).toBeUndefined();
    await expect(openMmio(place)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect([emptyMmio.read(0, 4), emptyMmio.read(4, 4), emptyMmio.read(0x70, 4)]).toEqual([0x74726976, 2, 0]);
  });
});
