import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import { room } from './connect.ts';
import { openSample, type Seen, type Tap, tapped } from './driver.fixture.ts';
import { PciTransport } from './driver.ts';
import type { PciTransportOptions } from './function-driver.ts';
import { legacyOnly, transitional } from './legacy-device.ts';
import { LegacyPciTransport } from './legacy-driver.ts';
import { legacyBar, legacyRegisters } from './legacy-registers.ts';
import { openPci } from './open-pci.ts';
import type { PciFunctionOptions } from './options.ts';
import { oldSample } from './pci.fixture.ts';
import { pciCapability } from './pci-capability.ts';
import { msixControl, pci_header } from './pci-registers.ts';
import { noVector } from './registers.ts';

const { header, legacy } = { header: pci_header.field, legacy: legacyRegisters.register };

/** A function with a legacy interface, and how a driver of it ends up. */
function joined(tap: Tap = {}, pciFunction: Partial<PciFunctionOptions> = {}) {
  const made = tapped(tap, { pciFunction: { legacy: legacyOnly(), ...pciFunction } });
  const open = (options: PciTransportOptions = {}) =>
    LegacyPciTransport.open(made.access, { room, ...options });
  return { ...made, open };
}

/** Answers one register, or field of the header, otherwise. */
const lying =
  (kind: 'configRead' | 'barRead', { offset }: { readonly offset: number }, value: number) =>
  (seen: Seen): number | undefined =>
    seen.kind === kind && seen.offset === offset ? value : undefined;

const ends = (seen: readonly Seen[], kind: Seen['kind']): string[] =>
  seen.flatMap((one) =>
    one.kind === kind && one.bar === legacyBar
      ? [legacyRegisters.find(one.offset, one.width)?.name ?? `config+${one.offset - 24}:${one.width}`]
      : [],
  );

describe('a transitional driver', () => {
  // @holds 4.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
  it.each([
    ['modern', undefined, {}, PciTransport],
    ['transitional', transitional(), {}, PciTransport],
    ['transitional', transitional(), { prefer: 'legacy' }, LegacyPciTransport],
    ['legacy', legacyOnly(), {}, LegacyPciTransport],
    ['legacy', legacyOnly(), { prefer: 'legacy' }, LegacyPciTransport],
  ] as const)('takes a %s device as it is', async (_, support, options, kind) => {
    const made = tapped({}, support === undefined ? {} : { pciFunction: { legacy: support } });
    const transport = await openPci(made.access, { room, ...options });
    expect(transport).toBeInstanceOf(kind);
    const opened = await openSample(transport);
    expect(opened.config).toMatchObject({ capacity: 0x1122334455667788n, short: 0xabcd, flag: 9 });
    await opened.queue('first').request(Uint8Array.of(1), 4);
    await opened.writeConfig('knob', 5);
    expect(made.device.config.knob).toBe(5);
    await opened.close();
    expect(made.errors).toEqual([]);
  });

  it('finds no legacy interface on a modern device, nor a modern one on a legacy device', async () => {
    const modern = tapped();
    await expect(openPci(modern.access, { room, prefer: 'legacy' })).rejects.toThrow(/Device ID 0x1054/);
    const old = joined();
    await expect(PciTransport.open(old.access, { room })).rejects.toThrow(/openPci/);
    // Whatever it claims to be: these are no virtio capabilities.
    const capabilities = [pciCapability(9, Uint8Array.of(8, 77, 0, 0, 0, 0))];
    const odd = joined({}, { capabilities });
    expect(await openPci(odd.access, { room })).toBeInstanceOf(LegacyPciTransport);
  });
});

describe('a legacy driver', () => {
  it.each([
    ['a modern revision', lying('configRead', header.revision_id, 1), /revision 1/],
    ['a modern id', lying('configRead', header.device_id, 0x1042), /Device ID 0x1042/],
    [
      'a BAR 0 in memory',
      ({ kind, offset, value }: Seen) => (kind === 'configRead' && offset === 0x10 ? value & ~1 : undefined),
      /I\/O ports/,
    ],
    [
      'a BAR 0 that is too small',
      ({ kind, offset, value }: Seen) =>
        kind === 'configRead' && offset === 0x10 && value > 0xffff_0000 ? 0xffff_fff1 : undefined,
      /16 ports/,
    ],
  ] as const)('refuses a function with %s', async (_, read, message) => {
    await expect(joined({ read }).open()).rejects.toThrow(message);
  });

  it('wants a place for BAR 0, and an interrupt', async () => {
    const { access } = joined();
    await expect(LegacyPciTransport.open(access)).rejects.toThrow(/room/);
    const { listenLine: _, allocateMessage: __, ...silent } = access;
    await expect(LegacyPciTransport.open(silent, { room })).rejects.toThrow(UsageError);
  });

  it('uses the legacy structure alone, each register in its width, and a kick at once', async () => {
    const made = joined({}, { legacy: transitional() });
    const opened = await openSample(await made.open());
    const begin = made.seen.findIndex(({ kind, bar }) => kind === 'barWrite' && bar === legacyBar);
    const used = made.seen.slice(begin).filter(({ bar }) => bar >= 0);
    expect(new Set(used.map(({ bar }) => bar))).toEqual(new Set([legacyBar, 2]));
    const writes = ends(used, 'barWrite');
    expect(writes.slice(0, 5)).toEqual([
      ...['device_status', 'device_status', 'device_status', 'config_msix_vector', 'driver_features'],
    ]);
    expect(writes.slice(-4)).toEqual(['queue_select', 'queue_msix_vector', 'queue_address', 'device_status']);
    expect(ends(used, 'barRead')).toContain('config+0:4');
    expect(ends(used, 'barRead')).toContain('config+8:1');
    made.seen.length = 0;
    const answer = opened.queue('first').request(Uint8Array.of(1), 4);
    expect(made.seen.map(({ kind, bar, offset, width, value }) => [kind, bar, offset, width, value])).toEqual(
      [['barWriteNow', legacyBar, legacy.queue_notify.offset, 2, 0]],
    );
    await answer;
    await opened.close();
    expect(made.errors).toEqual([]);
  });

  // @holds 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it.each([
    ['a vector for each queue', {}, {}, { choice: 'msix', vectors: 2 }],
    ['one shared vector', { msixVectors: 1 }, {}, { choice: 'msix', vectors: 1 }],
    ['INTx where vectors are refused', { acceptVector: () => false }, {}, { choice: 'intx', vectors: 0 }],
    ['INTx where there is no MSI-X', { msixVectors: 0 }, {}, { choice: 'intx', vectors: 0 }],
    ['INTx where it is told so', {}, { vectors: 0 }, { choice: 'intx', vectors: 0 }],
  ] as const)(
    'hears by %s, and finds the configuration where it is then',
    async (_, pciFunction, own, interrupts) => {
      const made = joined({}, pciFunction);
      // As firmware may leave it.
      const at = await made.access.configRead(header.capabilities_pointer.offset, 1);
      if (at !== 0) await made.access.configWrite(at + 2, 2, msixControl.ENABLE);
      const transport = await made.open(own);
      let changes = 0;
      const opened = await openSample(transport, undefined, () => void changes++);
      expect(transport.interrupts).toEqual(interrupts);
      expect(opened.config.capacity).toBe(0x1122334455667788n);
      await opened.queue('first').request(Uint8Array.of(1), 4);
      made.device.updateConfig({ flag: 4 });
      await new Promise((resolve) => setTimeout(resolve));
      expect(changes).toBeGreaterThan(0);
      expect(await opened.refreshConfig()).toMatchObject({ flag: 4 });
      await opened.close();
      expect(made.errors).toEqual([]);
    },
  );

  it.each([
    [0x8001, /32769 descriptors/],
    [0xffff, /65535 descriptors/],
    [48, /48 descriptors/],
    [0, /has no first/],
  ])('refuses a queue of %i descriptors', async (size, message) => {
    const made = joined({ read: lying('barRead', legacy.queue_size, size) });
    await expect(openSample(await made.open())).rejects.toThrow(message);
  });

  it('places no queue where 32 bits of pages do not reach, and none off a page', async () => {
    const transport = await joined().open();
    for (const descriptor of [2 ** 44, 0x1010, 0]) {
      const areas = { size: 64, descriptor, driver: descriptor + 1024, device: descriptor + 4096 };
      await expect(transport.enableQueue(0, areas)).rejects.toThrow(UsageError);
    }
    expect(() => transport.kick(0)).toThrow(UsageError);
    await expect(transport.resetQueue()).rejects.toThrow(UsageError);
  });

  it('gives up on a function that is gone', async () => {
    let gone = false;
    const read = ({ width }: Seen) => (gone ? 2 ** (8 * width) - 1 : undefined);
    const transport = await joined({ read }).open();
    gone = true;
    await expect(transport.readStatus()).rejects.toThrow(/does not answer/);
  });

  it('serves big-endian guests', async () => {
    const made = tapped({}, { pciFunction: { legacy: transitional({ endian: 'big' }) } });
    const opened = await openSample(await openPci(made.access, { room, prefer: 'legacy', endian: 'big' }));
    expect(opened.config.capacity).toBe(0x1122334455667788n);
    expect(opened.endian).toBe('big');
    await opened.writeConfig('knob', 0x0102_0304);
    expect(made.device.config.knob).toBe(0x0102_0304);
    await opened.queue('first').request(Uint8Array.of(1), 4);
    await opened.close();
    expect(made.errors).toEqual([]);
  });

  it('takes over from a modern one, and the other way round, on the same function', async () => {
    const { access, device, errors } = tapped({}, { pciFunction: { legacy: transitional() } });
    for (const prefer of ['modern', 'legacy', 'modern', 'legacy'] as const) {
      // The one before is not closed: firmware just stops.
      const opened = await openSample(await openPci(access, { room, prefer }));
      expect(opened.type).toBe(oldSample);
      await opened.queue('first').request(Uint8Array.of(1), 4);
      expect(opened.config.short).toBe(device.config.short);
    }
    expect(errors).toEqual([]);
  });

  it('does not take a vector for mapped that the device did not map', async () => {
    const made = joined({ read: lying('barRead', legacy.queue_msix_vector, noVector) });
    const transport = await made.open();
    await openSample(transport).catch(() => {});
    expect(transport.interrupts.choice).toBe('intx');
  });
});
