import { describe, expect, it } from 'vitest';
import { PeerError } from '../../errors.ts';
import { openSample, type Seen, type Tapped, tapped } from './driver.fixture.ts';
import { cfgType } from './registers.ts';
import { sharedMemory } from './shared-memory.ts';
import { vendorData } from './vendor-data.ts';

/** Offsets of the sample function's capabilities, as it lays them out. */
const at = { common: 0x40, isr: 0x50, device: 0x60, notify: 0x70, window: 0x84, msix: 0x98 } as const;

/** A function whose configuration space reads as told at some offsets. */
function forged(bytes: Readonly<Record<number, number>>): Tapped {
  const read = ({ kind, offset, width, value }: Seen): number | undefined => {
    if (kind !== 'configRead') return undefined;
    let forgery = value;
    for (let i = 0; i < width; i++) {
      const byte = bytes[offset + i];
      if (byte !== undefined) forgery += (byte - (Math.floor(value / 2 ** (8 * i)) & 0xff)) * 2 ** (8 * i);
    }
    return forgery;
  };
  return tapped({ read });
}

const word = (offset: number, value: number): Record<number, number> =>
  Object.fromEntries([0, 1, 2, 3].map((i) => [offset + i, Math.floor(value / 2 ** (8 * i)) & 0xff]));

async function refusal(bytes: Readonly<Record<number, number>>): Promise<string> {
  const error: unknown = await forged(bytes)
    .open()
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(PeerError);
  expect(error).toMatchObject({ code: 'LAYOUT_INVALID' });
  return String(error);
}

describe('a driver that reads the capability list', () => {
  it('finds every structure', async () => {
    const bytes = new Uint8Array(5000);
    const pciFunction = {
      capabilities: [sharedMemory(9, bytes), vendorData(0x1234, new Uint8Array(6))],
    };
    const { capabilities } = await tapped({}, { pciFunction }).open();
    expect(capabilities).toMatchObject({
      common: { bar: 0, offset: 0, length: 64 },
      isr: { bar: 0, offset: 4096, length: 4 },
      device: { bar: 0, offset: 8192, length: 29 },
      notify: { bar: 0, offset: 12288, length: 12, multiplier: 4 },
      window: at.window,
      vendorData: [{ vendorId: 0x1234, length: 12 }],
      msix: { size: 4, table: { bar: 2, offset: 0, length: 64 } },
    });
    expect([...capabilities.sharedMemory]).toEqual([[9, { bar: 4, offset: 0, length: 5000 }]]);
  });

  // @holds 4.1.4.1 driver: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('ignores reserved types and reserved BARs, and uses the next instance', async () => {
    const memory = { bar: 0, kind: 'memory64' } as const;
    const layout = { common: [memory, memory], isr: [memory, memory] };
    const read = ({ kind, offset }: Seen): number | undefined => {
      if (kind !== 'configRead') return undefined;
      // The first common configuration is of a reserved type, the first ISR status in a reserved BAR.
      if (offset === 0x40 + 3) return 0x77;
      return offset === 0x60 + 4 ? 6 : undefined;
    };
    const { capabilities } = await tapped({ read }, { pciFunction: { layout } }).open();
    expect(capabilities.common.offset).toBe(4096);
    expect(capabilities.isr.offset).toBe(3 * 4096);
  });

  // @holds 4.1.4.1 driver: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('uses the first instance that it can use, and passes over those that it cannot', async () => {
    const memory = { bar: 0, kind: 'memory64' } as const;
    const io = { bar: 4, kind: 'io' } as const;
    const fresh = () => tapped({}, { pciFunction: { layout: { notify: [io, memory] } } });
    expect((await fresh().open()).capabilities.notify.bar).toBe(4);
    // No room for I/O ports: the BAR stays at 0, where nothing answers.
    const withoutPorts = { memory: { start: 0xe000_0000, length: 2 ** 28 } };
    expect((await fresh().open({ room: withoutPorts })).capabilities.notify.bar).toBe(0);
  });

  // @holds 4.1.4.1 driver: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('accepts capabilities and structures that are larger than it knows, and maps what it needs', async () => {
    const larger = forged({
      [at.common + 2]: 0x20,
      ...word(at.common + 12, 0x0100_0000),
      ...word(at.device + 12, 0xffff_ffff),
      ...word(at.notify + 12, 0xffff_ffff),
    });
    const transport = await larger.open();
    expect(transport.capabilities.common.length).toBe(16384);
    const device = await openSample(transport);
    await expect(device.queue('first').request(Uint8Array.of(1), 4)).resolves.toHaveLength(0);
  });

  // @holds 4.1.4.1 driver: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
  it('writes to no capability but the window', async () => {
    const { open, seen } = tapped();
    const transport = await open();
    const device = await openSample(transport);
    await device.queue('first').request(Uint8Array.of(1), 4);
    await device.close();
    const written = seen.filter(({ kind, offset }) => kind === 'configWrite' && offset >= 0x40);
    // Message control is PCI's, and made to be written.
    expect(new Set(written.map(({ offset }) => offset))).toEqual(new Set([at.msix + 2]));
  });

  it('takes an older, shorter common configuration without the features that came later', async () => {
    const { carries } = await forged(word(at.common + 12, 56)).open();
    expect(carries).toContain('RING_PACKED');
    expect(carries).not.toContain('RING_RESET');
    expect(carries).not.toContain('NOTIF_CONFIG_DATA');
    expect((await forged(word(at.common + 12, 60)).open()).carries).toContain('RING_RESET');
  });

  it('does without an MSI-X table that is not there', async () => {
    const transport = await forged(word(at.msix + 4, 0x0010_0002)).open();
    expect(transport.interrupts.choice).toBe('intx');
  });
});

describe('a hostile function', () => {
  const loops = { [at.isr + 1]: at.common };
  const cases: Record<string, Readonly<Record<number, number>>> = {
    'whose list loops': loops,
    'whose capability points at itself': { [at.common + 1]: at.common },
    'whose list goes through the header': { [at.common + 1]: 0x10 },
    'without a capability list': { 6: 0 },
    'whose list is empty': { 52: 0 },
    'whose common configuration is outside its BAR': word(at.common + 8, 0x10_0000),
    'whose common configuration ends outside its BAR': word(at.common + 8, 16384 - 32),
    'whose common configuration wraps around': word(at.common + 8, 0xffff_fffc),
    'whose common configuration is misaligned': word(at.common + 8, 2),
    'whose common configuration is too short': word(at.common + 12, 55),
    'whose common configuration has no length': word(at.common + 12, 0),
    'whose common configuration is in a BAR that is not there': { [at.common + 4]: 5 },
    'whose capability is too short': { [at.notify + 2]: 16 },
    'whose capability leaves configuration space': { [at.common + 2]: 0xff },
    'whose ISR status has no length': word(at.isr + 12, 0),
    'whose notifications have no room': word(at.notify + 12, 1),
    'whose notify multiplier is odd': word(at.notify + 16, 3),
    'whose notify multiplier is 1': word(at.notify + 16, 1),
    'that has no virtio capability': {
      [at.common]: 1,
      [at.isr]: 1,
      [at.device]: 1,
      [at.notify]: 1,
      [at.window]: 1,
    },
  };
  for (const [what, bytes] of Object.entries(cases)) {
    it(`${what} is refused, and the reason named`, async () => {
      expect(await refusal(bytes)).toMatch(/PCI function: .{10}/);
    });
  }

  it('with two shared memory regions of one id is refused', async () => {
    const pciFunction = {
      capabilities: [sharedMemory(1, new Uint8Array(4096)), sharedMemory(2, new Uint8Array(4096))],
    };
    const second = 0x98 + 24;
    const read = ({ kind, offset }: Seen) => (kind === 'configRead' && offset === second + 5 ? 1 : undefined);
    await expect(tapped({ read }, { pciFunction }).open()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  it('whose notification address is outside its structure is refused when the queue is enabled', async () => {
    for (const off of [3, 0xffff]) {
      const read = ({ kind, bar, offset }: Seen) =>
        kind === 'barRead' && bar === 0 && offset === 30 ? off : undefined;
      const transport = await tapped({ read }).open();
      await expect(openSample(transport)).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    }
  });

  it('whose queues are impossibly large, whose reset never ends, or whose queue reset never ends is refused', async () => {
    const answering = (at: number, value: number) => ({
      read: ({ kind, bar, offset }: Seen) =>
        kind === 'barRead' && bar === 0 && offset === at ? value : undefined,
    });
    await expect(openSample(await tapped(answering(24, 0x8001)).open())).rejects.toMatchObject({
      code: 'LAYOUT_INVALID',
    });
    await expect(openSample(await tapped(answering(20, 1)).open())).rejects.toMatchObject({
      code: 'RESET_INCOMPLETE',
    });
    const stuck = await openSample(await tapped(answering(58, 1)).open());
    await expect(stuck.resetQueue('first')).rejects.toMatchObject({ code: 'RESET_INCOMPLETE' });
  });

  it('that is gone reads as all ones, and is told from one that needs a reset', async () => {
    let gone = false;
    const transport = await tapped({ read: ({ width }) => (gone ? 2 ** (8 * width) - 1 : undefined) }).open();
    gone = true;
    await expect(transport.readStatus()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });

  it('whose BARs have strange types or no size does not hang the driver', async () => {
    const everything = ({ kind, offset }: Seen) =>
      kind === 'configRead' && offset >= 0x10 && offset < 0x28 ? 0xffff_ffff : undefined;
    await expect(tapped({ read: everything }).open()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
    const nothing = ({ kind, offset }: Seen) =>
      kind === 'configRead' && offset >= 0x10 && offset < 0x28 ? 0 : undefined;
    await expect(tapped({ read: nothing }).open()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  it('that answers anything at all never hangs the driver, nor makes it fail in its own name', async () => {
    let seed = 1;
    const random = (): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed;
    };
    for (let run = 0; run < 200; run++) {
      const rate = (run % 20) + 2;
      const read = ({ width }: Seen) => (random() % rate === 0 ? random() % 2 ** (8 * width) : undefined);
      const ids = ({ kind, offset, value }: Seen) =>
        kind === 'configRead' && offset < 4 ? value : undefined;
      const tap = { read: (seen: Seen) => ids(seen) ?? read(seen) };
      const result: unknown = await tapped(tap)
        .open()
        .then((transport) => openSample(transport))
        .catch((error: unknown) => error);
      if (result instanceof Error) expect(['PeerError', 'HostError', 'UsageError']).toContain(result.name);
    }
  });

  it('knows every type of capability by its number', () => {
    expect(Object.values(cfgType)).toEqual([1, 2, 3, 4, 5, 8, 9]);
  });
});
