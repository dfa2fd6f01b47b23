import type { Device } from 'virtio/device';
import { UsageError } from 'virtio/errors';
import type { GuestMemory } from 'virtio/memory';
import type { BusHost } from './bus-host.ts';
import type { Bus, Placed, PlaceOptions } from './buses/bus.ts';
import { intercept, type V86Cpu } from './emulator.ts';
import { GuestRam } from './guest-ram.ts';
import { Interrupts } from './interrupts.ts';
import { type SavedDevice, savedDevices, withSavedDevices } from './saved-state.ts';

const hosts = new WeakMap<V86Cpu, V86Host>();

/** One emulator's machine with our devices in it, whatever bus each is on. */
export class V86Host implements BusHost {
  readonly cpu: V86Cpu;
  readonly ram: GuestRam;
  readonly interrupts: Interrupts;
  readonly #placed = new Set<Placed>();

  /** The host of this machine; there is one. */
  static of(cpu: V86Cpu): V86Host {
    let host = hosts.get(cpu);
    if (host === undefined) {
      host = new V86Host(cpu);
      hosts.set(cpu, host);
    }
    return host;
  }

  private constructor(cpu: V86Cpu) {
    this.cpu = cpu;
    this.ram = new GuestRam(cpu);
    this.interrupts = new Interrupts(cpu);
    intercept(cpu, 'reboot_internal', (original) => () => {
      this.#reset();
      original();
    });
    intercept(cpu, 'get_state', (original) => () => withSavedDevices(original(), this.#save()));
    intercept(cpu, 'set_state', (original) => (state) => {
      const saved = savedDevices(state);
      this.#checkFit(saved);
      this.#reset();
      original(state);
      this.ram.refresh();
      this.#restore(saved);
    });
  }

  get memory(): GuestMemory {
    return this.ram.memory;
  }

  readonly defer = (task: () => void): void => {
    setTimeout(() => {
      this.ram.refresh();
      task();
    });
  };

  /**
   * Puts a device on a bus.
   *
   * @throws {UsageError} BAD_ARGUMENT when its place is taken, none is free, or its type cannot be on that bus.
   */
  attach(bus: Bus, device: Device, options: PlaceOptions): Placed {
    const placed = bus.place(this, device, options);
    this.#placed.add(placed);
    return placed;
  }

  detach(placed: Placed): void {
    if (this.#placed.delete(placed)) placed.detach();
  }

  #reset(): void {
    this.ram.refresh();
    for (const placed of this.#placed) placed.reset();
  }

  #save(): readonly SavedDevice[] {
    this.ram.refresh();
    return [...this.#placed].map((placed) => {
      const { where, bus, device } = placed;
      return { where, bus, type: device.type.id, state: placed.save() };
    });
  }

  #at(where: string): Placed | undefined {
    for (const placed of this.#placed) if (placed.where === where) return placed;
    return undefined;
  }

  /** Throws before anything is touched, so that a machine never runs on half a state. */
  #checkFit(saved: readonly SavedDevice[]): void {
    for (const { where, bus, type } of saved) {
      const present = this.#at(where);
      if (present?.device.type.id === type && present.bus === bus) continue;
      const on = present === undefined || present.bus === bus ? '' : ` over ${bus}`;
      const found = present === undefined ? 'nothing' : present.device.type.name;
      throw new UsageError(
        'BAD_STATE',
        `the saved state has a device of type ${type}${on} in ${where}, where ${found} is attached${on && ` over ${present?.bus}`}`,
      );
    }
  }

  /** The machine is as it was saved: our devices follow, and then go on. */
  #restore(saved: readonly SavedDevice[]): void {
    this.interrupts.clear();
    for (const { where, state } of saved) this.#at(where)?.restore(state);
    for (const { where } of saved) this.#at(where)?.resume();
  }
}
