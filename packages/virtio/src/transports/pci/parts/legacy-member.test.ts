import { describe, expect, it } from 'vitest';
import { administer } from '../../../device/admin/administer.ts';
import { failure, Owner, ok, type RawCommand } from '../../../device/admin/owner.fixture.ts';
import { device } from '../../../device/device.ts';
import { entropy } from '../../../devices/entropy/spec.ts';
import { openAdmin } from '../../../driver/admin/open-admin.ts';
import { UsageError } from '../../../errors.ts';
import { type AdminCommandName, adminOpcode } from '../../../spec/admin.ts';
import { decodeBitmap } from '../../../spec/bitmap.ts';
import { status } from '../../../spec/status.ts';
import { PciFunction } from '../device.ts';
import { transitional } from '../legacy-device.ts';
import { legacyRegisters } from '../legacy-registers.ts';
import { Guest, sampleDevice } from '../pci.fixture.ts';
import { msixControl } from '../pci-registers.ts';
import { LegacyMember, type LegacyNotifyBars } from './legacy-member-driver.ts';
import { virtio_pci_legacy_notify_info } from './legacy-notify.ts';
import { ownersLegacy } from './owners-legacy.ts';
import { SriovGroup } from './sriov-group.ts';

const legacyCommands = [
  'LEGACY_COMMON_CFG_WRITE',
  'LEGACY_COMMON_CFG_READ',
  'LEGACY_DEV_CFG_WRITE',
  'LEGACY_DEV_CFG_READ',
  'LEGACY_NOTIFY_INFO',
] as const;
const invalidField = failure('EINVAL', 'INVALID_FIELD');

/** A virtual function with a legacy interface, and its owner, whose driver sends what it is told. */
async function owned(options: ConstructorParameters<typeof Guest>[0] = {}) {
  const vf = new Guest({ legacy: ownersLegacy(), ...options }, { serve: { first: () => {} } }).enable();
  const group = new SriovGroup([vf.pciFunction]);
  const owner = await Owner.start({ groups: [group] });
  group.enableVfs();
  await owner.useAll(1);
  const send = (opcode: AdminCommandName, command: Partial<RawCommand> = {}) =>
    owner.send({ opcode, group: 1, member: 1n, ...command });
  const read = async (opcode: AdminCommandName, offset: number, length: number) =>
    await send(opcode, { data: Uint8Array.of(offset), writable: 8 + length });
  const write = async (opcode: AdminCommandName, offset: number, ...bytes: number[]) =>
    await send(opcode, { data: Uint8Array.of(offset, 0, 0, 0, 0, 0, 0, 0, ...bytes) });
  return { vf, group, owner, send, read, write };
}

describe('an owner of virtual functions in legacy use', () => {
  // @holds 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('has all of the legacy commands or none', async () => {
    const listed = async (functions: readonly PciFunction[]) => {
      const group = new SriovGroup(functions);
      const owner = await Owner.start({ groups: [group] });
      group.enableVfs();
      const { result } = await owner.send({ opcode: 'LIST_QUERY', group: 1 });
      return decodeBitmap(result).filter((opcode) => opcode >= 2 && opcode <= 6);
    };
    const withLegacy = () => new Guest({ legacy: ownersLegacy() }).pciFunction;
    expect(await listed([withLegacy(), withLegacy()])).toEqual(
      legacyCommands.map((name) => adminOpcode[name]),
    );
    const reachable = () => new Guest({ legacy: transitional() }).pciFunction;
    const layout = { common: [{ bar: 2, kind: 'memory32' }] } as const;
    const without = new Guest({
      layout: { ...layout, isr: layout.common, device: layout.common, notify: layout.common },
      msixVectors: 0,
    });
    expect(await listed([withLegacy(), without.pciFunction])).toEqual([]);
    expect(await listed([reachable()])).toEqual([]);
    expect(await listed([])).toEqual([]);
    const { owner } = await owned();
    for (const opcode of legacyCommands) {
      expect(await owner.send({ opcode })).toMatchObject(failure('EINVAL', 'INVALID_OPCODE'));
    }
  });

  // @holds 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('and they are non-transitional by their ids, with BAR 0 left out', async () => {
    const { vf, owner } = await owned();
    for (const pciFunction of [vf.pciFunction, owner.bus.pciFunction]) {
      expect(pciFunction.configRead(2, 2)).toBeGreaterThanOrEqual(0x1040);
      expect(pciFunction.configRead(8, 1)).toBeGreaterThanOrEqual(1);
      expect(pciFunction.configRead(0x2e, 2)).toBeGreaterThanOrEqual(0x40);
    }
    expect(vf.header('bar0')).toBe(0);
    expect(vf.pciFunction.bars.map(({ index }) => index)).toEqual([1, 2]);
    const legacy = ownersLegacy();
    const wrong = new Guest({ legacy, layout: { isr: [{ bar: 0, kind: 'io' }] } }).pciFunction;
    expect(() => new SriovGroup([wrong])).toThrow(UsageError);
  });

  // @holds 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('fails what is not within one field of the common configuration', async () => {
    const { vf, read, write } = await owned();
    for (const { offset, width } of legacyRegisters.registers.filter((one) => one.offset < 20)) {
      for (let at = 0; at < 4; at++) {
        for (let length = 0; length <= 9; length++) {
          const fits = length > 0 && at + length <= width;
          if (at >= width) continue;
          expect(await read('LEGACY_COMMON_CFG_READ', offset + at, length)).toMatchObject(
            fits ? ok : invalidField,
          );
        }
      }
    }
    for (const [offset, length] of [
      [20, 2],
      [22, 2],
      [24, 1],
      [255, 1],
    ] as const) {
      expect(await read('LEGACY_COMMON_CFG_READ', offset, length)).toMatchObject(invalidField);
      expect(await write('LEGACY_COMMON_CFG_WRITE', offset, ...Array(length).fill(0))).toMatchObject(
        invalidField,
      );
    }
    expect(await write('LEGACY_COMMON_CFG_WRITE', 18, 1, 0)).toMatchObject(invalidField);
    expect(await write('LEGACY_COMMON_CFG_WRITE', 18)).toMatchObject(invalidField);
    expect(vf.get('device_status')).toBe(0);
    vf.msixControl(msixControl.ENABLE);
    expect((await read('LEGACY_COMMON_CFG_READ', 20, 2)).result).toEqual(Uint8Array.of(0xff, 0xff));
    expect(await read('LEGACY_COMMON_CFG_READ', 24, 1)).toMatchObject(invalidField);
  });

  // @holds 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('fails what is not within one field of the configuration, and reads and writes what is', async () => {
    const { vf, read, write } = await owned();
    for (const msix of [false, true]) {
      vf.msixControl(msix ? msixControl.ENABLE : 0);
      expect((await read('LEGACY_DEV_CFG_READ', 0, 8)).result).toEqual(
        Uint8Array.of(0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11),
      );
      expect((await read('LEGACY_DEV_CFG_READ', 9, 3)).result).toEqual(Uint8Array.of(2, 3, 4));
      expect(await write('LEGACY_DEV_CFG_WRITE', 16, 1, 2, 3, 4)).toMatchObject(ok);
      expect(await write('LEGACY_DEV_CFG_WRITE', 18, 7)).toMatchObject(ok);
      expect(vf.device.config.knob).toBe(0x0407_0201);
    }
    const end = vf.device.type.config.size;
    for (const [offset, length] of [
      [0, 9],
      [6, 4],
      [13, 2],
      [14, 4],
      [end, 1],
      [end - 1, 2],
      [3, 0],
    ] as const) {
      expect(await read('LEGACY_DEV_CFG_READ', offset, length)).toMatchObject(invalidField);
      const bytes: number[] = Array(length).fill(9);
      expect(await write('LEGACY_DEV_CFG_WRITE', offset, ...bytes)).toMatchObject(invalidField);
    }
    expect(vf.device.config.knob).toBe(0x0407_0201);
  });

  // @holds 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('has a queue used by commands, as by the legacy structure, and by either notification', async () => {
    const { vf, owner, read, write, send } = await owned();
    const common = (offset: number, ...bytes: number[]) => write('LEGACY_COMMON_CFG_WRITE', offset, ...bytes);
    await common(18, 0);
    await common(18, status.ACKNOWLEDGE);
    await common(18, status.ACKNOWLEDGE | status.DRIVER);
    // Features by halves: what is not written stays.
    await common(4, 1, 0);
    await common(7, 8);
    expect((await read('LEGACY_COMMON_CFG_READ', 4, 4)).result).toEqual(Uint8Array.of(1, 0, 0, 8));
    await common(14, 0, 0);
    expect((await read('LEGACY_COMMON_CFG_READ', 12, 2)).result).toEqual(Uint8Array.of(64, 0));
    await common(8, 0x10, 0, 0, 0);
    await common(18, status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK);
    expect(vf.pciFunction.core.legacy?.endian).toBe('little');
    const offer = (count: number) => {
      vf.memory.write(0x10000, Uint8Array.of(0, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0));
      vf.memory.write(0x10000 + 64 * 16 + 2, Uint8Array.of(count));
    };
    const used = () => vf.memory.read(0x11002, 1)[0];
    offer(1);
    await common(16, 0, 0);
    expect(used()).toBe(1);
    expect((await read('LEGACY_COMMON_CFG_READ', 19, 1)).result).toEqual(Uint8Array.of(1));
    expect(vf.level).toBe(false);
    const { result } = await send('LEGACY_NOTIFY_INFO');
    const entries = [0, 1, 2, 3].map((i) =>
      virtio_pci_legacy_notify_info.read(new DataView(result.buffer), 16 * i),
    );
    expect(entries.map(({ flags }) => flags)).toEqual([2, 0, 0, 0]);
    const [{ bar, offset } = { bar: 0, offset: 1n }] = entries;
    expect(vf.pciFunction.bars.some(({ index }) => index === bar && index > 0)).toBe(true);
    expect(offset % 2n).toBe(0n);
    offer(2);
    vf.pciFunction.barWrite(bar, Number(offset), 2, 0);
    expect(used()).toBe(2);
    expect([...vf.errors, ...owner.errors]).toEqual([]);
    vf.pciFunction.barWrite(bar, Number(offset), 2, 77);
    vf.pciFunction.barWrite(bar, Number(offset), 1, 0);
    expect(vf.pciFunction.barRead(bar, Number(offset), 2)).toBe(0);
    expect(vf.codes).toEqual(['NOTIFICATION_UNEXPECTED', 'REGISTER_ACCESS']);
  });
});

/** The driver of an owner, and what reached the owner. */
async function driven(notifyInfo?: () => Uint8Array) {
  const { vf, owner } = await owned();
  const admin = await openAdmin(owner.opened);
  const member = await LegacyMember.open(admin, 1);
  if (notifyInfo !== undefined) {
    const group = await admin.group(1);
    const before = group!.send.bind(group);
    group!.send = async (command) => (command.name === 'LEGACY_NOTIFY_INFO' ? notifyInfo() : before(command));
  }
  const written: unknown[][] = [];
  const bars: LegacyNotifyBars = {
    size: (whose, bar) =>
      (whose === 'member' ? vf.pciFunction : owner.bus.pciFunction).bars.find(({ index }) => index === bar)
        ?.size,
    write: async (...write) => void written.push(write),
  };
  return { vf, owner, member, bars, written };
}

describe('the driver of an owner, for a legacy driver', () => {
  // @holds 2.12.1.1.7 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('accesses one field at a time, little-endian, in its very length', async () => {
    const { vf, owner, member } = await driven();
    const lengths: number[][] = [];
    const queue = owner.opened.adminQueues[0]!;
    const request = queue.request.bind(queue);
    queue.request = (readable, writable) => {
      lengths.push([readable.length, writable]);
      return request(readable, writable);
    };
    await member.write('device_status', status.ACKNOWLEDGE);
    await member.write('driver_features', 1);
    expect(await member.read('driver_features')).toBe(1);
    expect(await member.read('queue_size')).toBe(64);
    expect(await member.read('device_status')).toBe(status.ACKNOWLEDGE);
    await member.writeConfig(16, Uint8Array.of(4, 3, 2, 1));
    expect(vf.device.config.knob).toBe(0x0102_0304);
    expect(await member.readConfig(14, 2)).toEqual(Uint8Array.of(0xcd, 0xab));
    expect(lengths).toEqual([
      [33, 8],
      [36, 8],
      [25, 12],
      [25, 10],
      [25, 9],
      [36, 8],
      [25, 10],
    ]);
    await expect(member.read('config_msix_vector')).rejects.toMatchObject({ status: 'EINVAL' });
    expect(vf.errors).toEqual([]);
  });

  // @holds 2.12.1.1.7 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it('notifies at the address that the device gives', async () => {
    const { member, bars, written, vf } = await driven();
    const notify = await member.notifier(bars);
    await notify(1);
    expect(written).toEqual([['member', 1, 0, 1]]);
    expect(vf.pciFunction.bars.some(({ index }) => index === 1)).toBe(true);
  });

  // @holds 2.12.1.1.7 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
  it.each([
    ['a flag that is reserved', [3, 1, 0n]],
    ['BAR 0', [1, 0, 0n]],
    ['a BAR that is reserved', [2, 6, 0n]],
    ['a BAR that does not exist', [2, 5, 0n]],
    ['an odd offset', [2, 1, 1n]],
    ['an offset at the end', [2, 1, 1n << 20n]],
    ['an offset far away', [1, 1, 0xffff_ffff_ffff_fffen]],
  ] as const)('passes over %s', async (_, [flags, bar, offset]) => {
    const bad = virtio_pci_legacy_notify_info.encode({ flags, bar, offset });
    const good = virtio_pci_legacy_notify_info.encode({ flags: 2, bar: 1, offset: 4n });
    const list = (...entries: Uint8Array[]) => Uint8Array.from(entries.flatMap((one) => [...one]));
    const after = await driven(() => list(bad, good));
    await (await after.member.notifier(after.bars))(3);
    expect(after.written).toEqual([['member', 1, 4, 3]]);
    // Behind the end of the list nothing counts: a command notifies then.
    const ended = await driven(() => list(bad, new Uint8Array(16), good));
    await (await ended.member.notifier(ended.bars))(77);
    expect(ended.written).toEqual([]);
    expect(ended.vf.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
  });

  it('is not there for an owner without such members', async () => {
    const vf = new PciFunction(sampleDevice(), { memory: new Guest().memory });
    const group = new SriovGroup([vf]);
    const owner = await Owner.start({ groups: [group] });
    group.enableVfs();
    await expect(LegacyMember.open(await openAdmin(owner.opened), 1)).rejects.toThrow(UsageError);
    expect(administer(device(entropy, {}), { groups: [group] }).administration).toBeDefined();
  });
});
