import type { Device, Tracer } from 'virtio/device';
import { UsageError, type VirtioError } from 'virtio/errors';
import type { GuestMemory } from 'virtio/memory';
import { type BarChoice, type PciBar, PciFunction } from 'virtio/transports/pci';
import { intercept, type V86Cpu } from './emulator.ts';
import { GuestRam } from './guest-ram.ts';
import { InterruptLines } from './interrupt-lines.ts';
import { PortMap, type PortRange } from './port-map.ts';
import { type SavedFunction, savedFunctions, withSavedFunctions } from './saved-state.ts';

/** How a device is to be attached. */
export interface AttachOptions {
  /** PCI device number, 1 to 31; the first free one from 16 unless told. */
  readonly slot?: number;
  /** Sees every register access, notification, interrupt and chain of this device. */
  readonly trace?: Tracer;
  /** Hears of what the guest's driver did wrong, and of handlers that failed. */
  readonly onError?: (error: VirtioError, needsReset: boolean) => void;
}

const configData = 0xcfc;
const interruptLine = 0x3c;
const firstSlot = 16;
const lastSlot = 31;

/** v86 cuts 16-bit accesses to memory into bytes; those to I/O ports arrive as they were made. */
const inPorts: readonly BarChoice[] = [{ bar: 0, kind: 'io' }];
const layout = { common: inPorts, notify: inPorts, isr: inPorts, device: inPorts } as const;

const hosts = new WeakMap<V86Cpu, V86Host>();

/** One emulator's PCI bus with our functions on it. */
export class V86Host {
  readonly #cpu: V86Cpu;
  readonly #ram: GuestRam;
  readonly #ports: PortMap;
  readonly #lines: InterruptLines;
  readonly #slots = new Map<number, Slot>();

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
    this.#cpu = cpu;
    this.#ram = new GuestRam(cpu);
    this.#ports = new PortMap(cpu.io);
    this.#lines = new InterruptLines(cpu);
    this.#ports.add(configData, 4, {
      read: (offset, width) => this.#selected()?.configRead(this.#register(offset), width),
      write: (offset, width, value) => {
        const selected = this.#selected();
        selected?.configWrite(this.#register(offset), width, value);
        return selected !== undefined;
      },
    });
    intercept(cpu, 'reboot_internal', (original) => () => {
      this.#reset();
      original();
    });
    intercept(cpu, 'get_state', (original) => () => withSavedFunctions(original(), this.#save()));
    intercept(cpu, 'set_state', (original) => (state) => {
      const saved = savedFunctions(state);
      this.#checkFit(saved);
      this.#reset();
      original(state);
      this.#ram.refresh();
      this.#restore(saved);
    });
  }

  get memory(): GuestMemory {
    return this.#ram.memory;
  }

  /**
   * Puts a device on the bus; answers its slot.
   *
   * @throws {UsageError} BAD_ARGUMENT when the slot is taken, or none is free.
   */
  attach(device: Device, options: AttachOptions): number {
    const number = this.#freeSlot(options.slot);
    this.#slots.set(
      number,
      new Slot(number, device, options, this.#cpu, this.#ram, this.#ports, this.#lines),
    );
    return number;
  }

  detach(number: number): void {
    this.#slots.get(number)?.detach();
    this.#slots.delete(number);
  }

  #freeSlot(wanted: number | undefined): number {
    const { devices } = this.#cpu.devices.pci;
    const free = (slot: number): boolean => devices[slot << 3] === undefined;
    if (wanted === undefined) {
      for (let slot = firstSlot; slot <= lastSlot; slot++) if (free(slot)) return slot;
      throw new UsageError('BAD_ARGUMENT', `no PCI slot from ${firstSlot} to ${lastSlot} is free`);
    }
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > lastSlot) {
      throw new UsageError('BAD_ARGUMENT', `${wanted} is no PCI slot from 1 to ${lastSlot}`);
    }
    if (!free(wanted)) {
      const name = devices[wanted << 3]?.name;
      throw new UsageError('BAD_ARGUMENT', `PCI slot ${wanted} is taken by ${name}`);
    }
    return wanted;
  }

  /** The function that the guest's configuration address register names, if it is one of ours. */
  #selected(): PciFunction | undefined {
    const address = this.#cpu.devices.pci.pci_addr;
    if (address[2] !== 0 || (address[3]! & 0x80) === 0 || (address[1]! & 7) !== 0) return undefined;
    const slot = this.#slots.get(address[1]! >> 3);
    if (slot !== undefined) this.#ram.refresh();
    return slot?.function;
  }

  #register(offset: number): number {
    return (this.#cpu.devices.pci.pci_addr[0]! & 0xfc) + offset;
  }

  #reset(): void {
    this.#ram.refresh();
    for (const slot of this.#slots.values()) slot.function.reset();
  }

  #save(): readonly SavedFunction[] {
    this.#ram.refresh();
    return [...this.#slots].map(([slot, { function: saved }]) => ({ slot, state: saved.save() }));
  }

  /** Throws before anything is touched, so that a machine never runs on half a state. */
  #checkFit(saved: readonly SavedFunction[]): void {
    for (const { slot, state } of saved) {
      const type = this.#slots.get(slot)?.device.type;
      if (type?.id === state.core.type) continue;
      throw new UsageError(
        'BAD_STATE',
        `the saved state has a device of type ${state.core.type} in PCI slot ${slot}, where ${type?.name ?? 'nothing'} is attached`,
      );
    }
  }

  /** The machine is as it was saved: our functions follow, and then go on. */
  #restore(saved: readonly SavedFunction[]): void {
    this.#lines.clear();
    for (const { slot, state } of saved) this.#slots.get(slot)?.function.restore(state);
    for (const { slot } of saved) this.#slots.get(slot)?.function.resume();
  }
}

/** A PCI slot with one of our functions in it. */
class Slot {
  readonly device: Device;
  readonly function: PciFunction;
  readonly #cpu: V86Cpu;
  readonly #ram: GuestRam;
  readonly #ports: PortMap;
  readonly #pciId: number;
  #mapped: PortRange[] = [];

  constructor(
    number: number,
    device: Device,
    options: AttachOptions,
    cpu: V86Cpu,
    ram: GuestRam,
    ports: PortMap,
    lines: InterruptLines,
  ) {
    this.device = device;
    this.#cpu = cpu;
    this.#ram = ram;
    this.#ports = ports;
    this.#pciId = number << 3;
    const { trace, onError } = options;
    this.function = new PciFunction(device, {
      memory: ram.memory,
      layout,
      notifyMultiplier: 0,
      setInterruptLine: (level) => lines.set(this.#pciId, level),
      barsMoved: (bars) => this.#map(bars),
      // A task of its own: a guest that keeps a queue full must leave the page time to breathe.
      defer: (task) =>
        void setTimeout(() => {
          ram.refresh();
          task();
        }),
      ...(trace === undefined ? {} : { trace }),
      ...(onError === undefined ? {} : { onError }),
    });
    // v86 answers for presence and interrupt routing from this copy; all else comes from the function.
    cpu.devices.pci.register_device({
      pci_id: this.#pciId,
      pci_space: Array.from({ length: 64 }, (_, offset) => this.function.configRead(offset, 1)),
      pci_bars: [],
      name: `virtio ${device.type.name}`,
    });
    // A firmware that has run already will not tell the guest which interrupt this is.
    this.function.configWrite(interruptLine, 1, lines.irq(this.#pciId) ?? 0);
  }

  detach(): void {
    this.function.detach();
    for (const range of this.#mapped.splice(0)) this.#ports.remove(range);
    const { devices, device_spaces } = this.#cpu.devices.pci;
    devices[this.#pciId] = undefined;
    device_spaces[this.#pciId] = undefined;
  }

  #map(bars: readonly PciBar[]): void {
    for (const range of this.#mapped.splice(0)) this.#ports.remove(range);
    for (const { index, address, size, enabled } of bars) {
      if (!enabled) continue;
      const range = this.#ports.add(address, size, {
        read: (offset, width) => {
          this.#ram.refresh();
          return this.function.barRead(index, offset, width);
        },
        write: (offset, width, value) => {
          this.#ram.refresh();
          this.function.barWrite(index, offset, width, value);
          return true;
        },
      });
      this.#mapped.push(range);
    }
  }
}
