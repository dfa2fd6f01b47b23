import { device } from 'virtio/device';
import { entropy, entropyDevice } from 'virtio/devices/entropy';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attach } from './attach.ts';
import { BareMachine } from './bare-machine.fixture.ts';
import type { V86Emulator } from './emulator.ts';
import { V86Host } from './host.ts';

const rng = () => entropyDevice({ source: (target) => target.fill(1) });
const bar0 = 0x10;
const command = 0x04;
const decodePorts = 1;
let machine: BareMachine;

beforeEach(async () => {
  machine = await BareMachine.create();
});

afterEach(() => machine.emulator.destroy());

describe('attach', () => {
  it('puts devices on the bus that were attached while the emulator loaded, in that order', async () => {
    const loading = BareMachine.load();
    const attachments = [rng(), rng()].map((made) => attach(loading.emulator, made));
    expect(attachments.map(({ slot }) => slot)).toEqual([undefined, undefined]);
    await Promise.all(attachments.map(({ ready }) => ready));
    // Slot 18 is the video card's.
    expect(attachments.map(({ slot }) => slot)).toEqual([16, 17]);
    expect(attach(loading.emulator, rng()).slot).toBe(19);
    await loading.emulator.destroy();
  });

  it('does not put on the bus what was detached before', async () => {
    const loading = BareMachine.load();
    attach(loading.emulator, rng()).detach();
    await loading.ready();
    expect(loading.configRead(16, 0)).toBe(0xffff_ffff);
    await loading.emulator.destroy();
  });

  it.each([0, 32, 1.5, 1, 18])('refuses slot %d, which does not exist or is taken', (slot) => {
    expect(() => attach(machine.emulator, rng(), { slot })).toThrow(/slot/);
  });

  it('refuses a device that is attached already, until it is detached', () => {
    const made = rng();
    const attachment = attach(machine.emulator, made, { slot: 20 });
    expect(() => attach(machine.emulator, made)).toThrow(/attached already/);
    attachment.detach();
    attachment.detach();
    expect(machine.configRead(20, 0)).toBe(0xffff_ffff);
    expect(attach(machine.emulator, made, { slot: 20 }).slot).toBe(20);
  });

  it('says which member another v86 lacks, and what is no v86 at all', async () => {
    Object.defineProperty(machine.cpu.io, 'port_read16', { value: undefined });
    expect(() => attach(machine.emulator, rng())).toThrow(
      'this v86 has no cpu.io.port_read16; virtio-v86 works with v86 0.5.462 and later',
    );
    // A caller without types may hand over anything.
    expect(() => attach({} as V86Emulator, rng())).toThrow('attach takes an emulator made by new V86(…)');
  });
});

describe('a function on the bus', () => {
  it('answers configuration accesses of every width, and leaves those to others alone', () => {
    const { slot = 0 } = attach(machine.emulator, rng());
    expect(machine.configRead(slot, 0)).toBe(0x1044_1af4);
    expect(machine.configRead(slot, 2, 2)).toBe(0x1044);
    expect(machine.configRead(slot, 1, 1)).toBe(0x1a);
    machine.configWrite(slot, 0x3c, 9, 1);
    expect(machine.configRead(slot, 0x3c, 1)).toBe(9);
    expect(machine.configRead(0, 0)).toBe(0x1237_8086);
    expect(machine.configRead(30, 0, 2)).toBe(0x8086);
    // Function 1 of the slot does not exist.
    machine.out(0xcf8, 0x8000_0000 | (slot << 11) | (1 << 8), 4);
    expect(machine.in(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it('is mapped where its BAR says, moves with it, and is gone when it is told not to answer', () => {
    const { slot = 0 } = attach(machine.emulator, rng());
    machine.configWrite(slot, bar0, 0xffff_ffff);
    const size = (~(machine.configRead(slot, bar0) & 0xffff_fffc) + 1) >>> 0;
    expect(size).toBeLessThanOrEqual(256);
    const statusAt = (base: number): number => machine.in(base + 20, 1);

    machine.configWrite(slot, bar0, 0xc000);
    expect(statusAt(0xc000)).toBe(0xff);
    machine.configWrite(slot, command, decodePorts, 2);
    expect(statusAt(0xc000)).toBe(0);
    machine.out(0xc000 + 20, 1, 1);
    expect(statusAt(0xc000)).toBe(1);
    machine.configWrite(slot, bar0, 0xd000);
    expect(statusAt(0xc000)).toBe(0xff);
    expect(statusAt(0xd000)).toBe(1);
    // Over v86's own ports, and off the end of them: what was there is there again afterwards.
    machine.configWrite(slot, bar0, 0x300);
    machine.configWrite(slot, bar0, 0xffff_ff00);
    expect(statusAt(0xff00)).toBe(0xff);
    machine.configWrite(slot, bar0, 0xd000);
    expect(statusAt(0xd000)).toBe(1);
    machine.configWrite(slot, command, 0, 2);
    expect(statusAt(0xd000)).toBe(0xff);
  });

  it('shares its interrupt with others: the line is low when all of them are', () => {
    const levels: boolean[] = [];
    const { cpu } = machine;
    const { device_raise_irq: raise, device_lower_irq: lower } = cpu;
    cpu.device_raise_irq = (irq) => {
      if (irq === 11) levels.push(true);
      raise(irq);
    };
    cpu.device_lower_irq = (irq) => {
      if (irq === 11) levels.push(false);
      lower(irq);
    };
    cpu.devices.pci.isa_bridge_space8.set([11, 11, 10, 10], 0x60);
    attach(machine.emulator, rng(), { slot: 20 });
    // v86's own network card is in slot 5, on another line of the same interrupt.
    cpu.devices.pci.isa_bridge_space8.fill(11, 0x60, 0x64);
    const { pci } = cpu.devices;
    pci.raise_irq(20 << 3);
    pci.raise_irq(5 << 3);
    pci.lower_irq(5 << 3);
    expect(levels).toEqual([true, true]);
    pci.lower_irq(20 << 3);
    expect(levels).toEqual([true, true, false]);
  });

  it('is told its interrupt when the firmware has run already', () => {
    machine.cpu.devices.pci.isa_bridge_space8.set([5, 5, 5, 5], 0x60);
    const { slot = 0 } = attach(machine.emulator, rng());
    expect(machine.configRead(slot, 0x3c, 1)).toBe(5);
  });

  it('gives its trace to whoever asked', () => {
    const events: string[] = [];
    const { slot = 0 } = attach(machine.emulator, rng(), { trace: ({ kind }) => void events.push(kind) });
    machine.configWrite(slot, bar0, 0xc000);
    machine.configWrite(slot, command, decodePorts, 2);
    machine.out(0xc000 + 20, 0, 1);
    expect(events).toContain('register');
    expect(events).toContain('reset');
  });

  it('is reset with the machine', () => {
    let resets = 0;
    const made = device(entropy, { reset: () => void resets++ });
    const { slot = 0 } = attach(machine.emulator, made);
    machine.configWrite(slot, bar0, 0xc000);
    machine.configWrite(slot, command, decodePorts, 2);
    resets = 0;
    machine.emulator.restart();
    expect(resets).toBe(1);
    expect(machine.configRead(slot, command, 2)).toBe(0);
    expect(machine.in(0xc000 + 20, 1)).toBe(0xff);
  });
});

describe("the guest's memory", () => {
  it('is its RAM but for the window of the video card', () => {
    const { memory } = V86Host.of(machine.cpu);
    expect(memory.regions.map(({ start, end }) => [start, end])).toEqual([
      [0, 0xa0000],
      [0xc0000, 16 << 20],
    ]);
  });

  it('is found again after the WebAssembly memory has moved', () => {
    attach(machine.emulator, rng());
    const { memory } = V86Host.of(machine.cpu);
    memory.write(0x2_0000, Uint8Array.of(1, 2, 3));
    // The real object has a method to grow it.
    (machine.cpu.wasm_memory as WebAssembly.Memory).grow(1);
    expect(memory.regions[0]?.bytes).toHaveLength(0);
    machine.cpu.main_loop();
    expect(memory.read(0x2_0000, 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(machine.cpu.mem8[0x2_0001]).toBe(2);

    (machine.cpu.wasm_memory as WebAssembly.Memory).grow(1); // and within an access of the guest
    machine.configRead(16, 0);
    expect(memory.read(0x2_0000, 3)).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe('a saved state', () => {
  it('holds the functions, and goes into a machine that has the same', async () => {
    const { slot = 0 } = attach(machine.emulator, rng());
    machine.configWrite(slot, bar0, 0xc000);
    machine.configWrite(slot, command, decodePorts, 2);
    machine.out(0xc000 + 20, 3, 1);
    const state = await machine.emulator.save_state();

    const other = await BareMachine.create();
    attach(other.emulator, rng());
    await other.emulator.restore_state(state);
    expect(other.in(0xc000 + 20, 1)).toBe(3);

    const without = await BareMachine.create();
    const attachment = attach(without.emulator, rng(), { slot: 20 });
    await expect(without.emulator.restore_state(state)).rejects.toMatchObject({ code: 'BAD_STATE' });
    attachment.detach();
    await expect(without.emulator.restore_state(state)).rejects.toThrow(/where nothing is attached/);
    await other.emulator.destroy();
    await without.emulator.destroy();
  });

  it('of a machine without our devices leaves them reset', async () => {
    const plain = await machine.emulator.save_state();
    const { slot = 0 } = attach(machine.emulator, rng());
    machine.configWrite(slot, bar0, 0xc000);
    machine.configWrite(slot, command, decodePorts, 2);
    await machine.emulator.restore_state(plain);
    expect(machine.configRead(slot, command, 2)).toBe(0);
    expect(machine.configRead(slot, 0, 2)).toBe(0x1af4);
  });
});
