import { blk, blkDevice, memoryStorage } from 'virtio/devices/blk';
import { consoleDevice } from 'virtio/devices/console';
import { entropyDevice } from 'virtio/devices/entropy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attach } from '../attach.ts';
import { BareMachine } from '../bare-machine.fixture.ts';
import { mmio } from './mmio.ts';
import { mmioWindow } from './window-place.ts';

const rng = () => entropyDevice({ source: (target) => target.fill(1) });
const status = 0x70;
const config = 0x100;
let machine: BareMachine;

/** The accesses of a guest: v86 makes bytes of 16 bits. */
const memory = ({ cpu }: BareMachine) => ({
  read8: (slot: number, offset: number) => cpu.mmap_read8((mmioWindow(slot).address + offset) | 0),
  read32: (slot: number, offset: number) => cpu.mmap_read32((mmioWindow(slot).address + offset) | 0) >>> 0,
  write8: (slot: number, offset: number, value: number) =>
    cpu.mmap_write8((mmioWindow(slot).address + offset) | 0, value),
  write32: (slot: number, offset: number, value: number) =>
    cpu.mmap_write32((mmioWindow(slot).address + offset) | 0, value),
});

beforeEach(async () => {
  machine = await BareMachine.create();
});

afterEach(() => machine.emulator.destroy());

describe('a window', () => {
  it('is the first free one, and shows the registers of its device', () => {
    const slots = [rng(), rng()].map((made) => attach(machine.emulator, made, { bus: mmio() }).slot);
    expect(slots).toEqual([0, 1]);
    const { read32 } = memory(machine);
    expect([0, 4, 8].map((offset) => read32(1, offset))).toEqual([0x7472_6976, 2, 4]);
  });

  it('answers nobody when its device is detached, and takes another', () => {
    const attachment = attach(machine.emulator, rng(), { bus: mmio(), slot: 3 });
    expect(() => attach(machine.emulator, rng(), { bus: mmio(), slot: 3 })).toThrow(
      'MMIO window 3 is taken by virtio entropy',
    );
    attachment.detach();
    const { read8, read32, write32 } = memory(machine);
    write32(3, status, 1);
    expect([read8(3, 0), read32(3, 0)]).toEqual([0xff, 0xffff_ffff]);
    expect(attach(machine.emulator, rng(), { bus: mmio(), slot: 3 }).slot).toBe(3);
    expect(read32(3, status)).toBe(0);
  });

  it.each([-1, 32, 1.5])('of number %d does not exist', (slot) => {
    expect(() => attach(machine.emulator, rng(), { bus: mmio(), slot })).toThrow(/MMIO window/);
  });

  it('shows 16-bit fields whole, of which v86 makes two bytes, and bytes as they are', () => {
    const errors: string[] = [];
    const onError = (error: Error): void => void errors.push(error.message);
    const hvc = consoleDevice({ onData: () => {}, size: { cols: 0x1234, rows: 0x5678 } });
    attach(machine.emulator, hvc, { bus: mmio(), onError });
    const disk = blkDevice({ storage: memoryStorage(512) });
    attach(machine.emulator, disk, { bus: mmio(), onError });
    const { read8, write8 } = memory(machine);
    expect([0, 1, 2, 3].map((byte) => read8(0, config + byte))).toEqual([0x34, 0x12, 0x78, 0x56]);
    const { writeback } = blk.config.field;
    write8(1, config + writeback.offset, 1);
    expect(errors.filter((message) => !/writeback/i.test(message))).toEqual([]);
  });
});

it('shares its interrupt with other windows', () => {
  const levels: [number, boolean][] = [];
  const { cpu } = machine;
  cpu.device_raise_irq = (irq) => void levels.push([irq, true]);
  cpu.device_lower_irq = (irq) => void levels.push([irq, false]);
  const first = mmioWindow(0).irq;
  expect(mmioWindow(2).irq).toBe(first);
  const terminals = [0, 2].map((slot) => {
    const hvc = consoleDevice({ onData: () => {} });
    attach(machine.emulator, hvc, { bus: mmio(), slot });
    return hvc;
  });
  const { read32, write32 } = memory(machine);
  for (const slot of [0, 2]) {
    write32(slot, status, 3);
    // VERSION_1, and SIZE.
    for (const word of [1, 0]) {
      write32(slot, 0x24, word);
      write32(slot, 0x20, 1);
    }
    for (const bits of [11, 15]) write32(slot, status, bits);
  }
  for (const { console: port } of terminals) port.resize(100, 30);
  expect([read32(0, 0x60), read32(2, 0x60)]).toEqual([2, 2]);
  write32(0, 0x64, 2);
  expect(levels).toEqual([
    [first, true],
    [first, true],
  ]);
  write32(2, 0x64, 2);
  expect(levels.at(-1)).toEqual([first, false]);
});

describe('a saved state', () => {
  it('holds the windows beside the PCI functions', async () => {
    attach(machine.emulator, rng());
    attach(machine.emulator, rng(), { bus: mmio() });
    memory(machine).write32(0, status, 3);
    const state = await machine.emulator.save_state();

    const other = await BareMachine.create();
    attach(other.emulator, rng());
    const wrong = attach(other.emulator, blkDevice({ storage: memoryStorage(512) }), { bus: mmio() });
    await expect(other.emulator.restore_state(state)).rejects.toThrow(
      'the saved state has a device of type 4 in MMIO window 0, where blk is attached',
    );
    wrong.detach();
    attach(other.emulator, rng(), { bus: mmio() });
    await other.emulator.restore_state(state);
    expect(memory(other).read32(0, status)).toBe(3);
    other.emulator.restart();
    expect(memory(other).read32(0, status)).toBe(0);
    await other.emulator.destroy();
  });
});
