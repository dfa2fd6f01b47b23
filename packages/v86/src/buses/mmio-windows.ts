import { type Device, tracing } from 'virtio/device';
import type { MmioDeviceOptions } from 'virtio/transports/mmio';
import type { BusHost } from '../bus-host.ts';
import type { Bus, Placed, PlaceOptions } from './bus.ts';
import { freeSlot } from './free-slot.ts';
import { type Accesses, WholeFields } from './whole-fields.ts';
import { mmioWindow, windowCount, windowSize } from './window-place.ts';

/** A device behind a window, of either version. */
interface WindowDevice<State> extends Accesses {
  reset(): void;
  save(): State;
  restore(state: State): void;
  resume(): void;
  detach(): void;
}

const machines = new WeakMap<BusHost, MmioWindows>();

/** @internal An MMIO bus for devices that this makes. */
export function mmioBus<State>(
  name: Bus['name'],
  make: (device: Device, options: MmioDeviceOptions) => WindowDevice<State>,
): Bus {
  return { name, place: (host, device, options) => MmioWindows.of(host).place(name, make, device, options) };
}

/** A machine's windows. v86 maps memory for good: one that was mapped stays, and answers nobody when it is empty. */
class MmioWindows {
  readonly #host: BusHost;
  readonly #devices = new Map<number, { readonly accesses: Accesses; readonly name: string }>();
  readonly #mapped = new Set<number>();

  static of(host: BusHost): MmioWindows {
    const windows = machines.get(host) ?? new MmioWindows(host);
    machines.set(host, windows);
    return windows;
  }

  private constructor(host: BusHost) {
    this.#host = host;
  }

  place<State>(
    bus: Bus['name'],
    make: (device: Device, options: MmioDeviceOptions) => WindowDevice<State>,
    device: Device,
    { slot: wanted, trace, onError }: PlaceOptions,
  ): Placed {
    const occupant = (slot: number): string | undefined => this.#devices.get(slot)?.name;
    const slot = freeSlot(
      { name: 'MMIO window', first: 0, searchFrom: 0, last: windowCount - 1, occupant },
      wanted,
    );
    const { irq } = mmioWindow(slot);
    const where = `MMIO window ${slot}`;
    const placed = make(device, {
      memory: this.#host.memory,
      setInterruptLine: (level) => this.#host.interrupts.set(where, irq, level),
      defer: this.#host.defer,
      trace: trace && tracing(trace),
      onError,
    });
    const accesses = new WholeFields(placed, device.type);
    this.#devices.set(slot, { accesses, name: `virtio ${device.type.name}` });
    this.#map(slot);
    return {
      slot,
      where,
      bus,
      device,
      reset: () => placed.reset(),
      save: () => placed.save(),
      // The host has looked: this type has saved it, on this bus.
      restore: (state) => placed.restore(state as State),
      resume: () => placed.resume(),
      detach: () => {
        placed.detach();
        this.#devices.delete(slot);
      },
    };
  }

  #map(slot: number): void {
    if (this.#mapped.has(slot)) return;
    this.#mapped.add(slot);
    const { address } = mmioWindow(slot);
    const offset = (at: number): number => (at >>> 0) - address;
    this.#host.cpu.io.mmap_register(
      address,
      windowSize,
      (at) => this.#read(slot, offset(at), 1),
      (at, value) => this.#write(slot, offset(at), 1, value & 0xff),
      (at) => this.#read(slot, offset(at), 4) | 0,
      (at, value) => this.#write(slot, offset(at), 4, value >>> 0),
    );
  }

  #read(slot: number, offset: number, width: 1 | 4): number {
    const found = this.#devices.get(slot);
    if (found === undefined) return width === 1 ? 0xff : 0xffff_ffff;
    const { ram, interrupts } = this.#host;
    ram.refresh();
    interrupts.beginAccess();
    const value = found.accesses.read(offset, width);
    interrupts.endAccess();
    return value;
  }

  #write(slot: number, offset: number, width: 1 | 4, value: number): void {
    const { ram, interrupts } = this.#host;
    ram.refresh();
    interrupts.beginAccess();
    this.#devices.get(slot)?.accesses.write(offset, width, value);
    interrupts.endAccess();
  }
}
