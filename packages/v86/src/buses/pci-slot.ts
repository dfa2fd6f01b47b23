import type { Device } from 'virtio/device';
import {
  type PciBar,
  PciFunction,
  type PciFunctionState,
  type PciLayout,
  type PciLegacySupport,
  pciTracing,
  restorePciFunction,
  savePciFunction,
} from 'virtio/transports/pci';
import { inOrder, packedRing } from 'virtio/virtqueue';
import type { BusHost } from '../bus-host.ts';
import type { Bus, Placed, PlaceOptions } from './bus.ts';
import type { PciInterrupts } from './pci-interrupts.ts';
import type { PortMap, PortRange } from './port-map.ts';

const interruptLine = 0x3c;

/** What a slot has from its bus. */
export interface PciSlotParts {
  readonly host: BusHost;
  readonly ports: PortMap;
  readonly interrupts: PciInterrupts;
  readonly layout: PciLayout;
  readonly legacy: PciLegacySupport | undefined;
}

/** A PCI slot with one of our functions in it. */
export class PciSlot implements Placed {
  readonly slot: number;
  readonly where: string;
  readonly bus: Bus['name'];
  readonly device: Device;
  readonly function: PciFunction;
  readonly #host: BusHost;
  readonly #ports: PortMap;
  readonly #pciId: number;
  readonly #left: () => void;
  #mapped: PortRange[] = [];

  constructor(
    slot: number,
    bus: Bus['name'],
    device: Device,
    { trace, onError }: PlaceOptions,
    { host, ports, interrupts, layout, legacy }: PciSlotParts,
    left: () => void,
  ) {
    this.slot = slot;
    this.where = `PCI slot ${slot}`;
    this.bus = bus;
    this.device = device;
    this.#host = host;
    this.#ports = ports;
    this.#pciId = slot << 3;
    this.#left = left;
    this.function = new PciFunction(device, {
      memory: host.memory,
      packedRing,
      inOrder,
      layout,
      notifyMultiplier: 0,
      setInterruptLine: (level) => interrupts.set(this.#pciId, level),
      barsMoved: (bars) => this.#map(bars),
      defer: host.defer,
      ...(legacy === undefined ? {} : { legacy }),
      ...(trace === undefined ? {} : { trace: pciTracing(trace) }),
      ...(onError === undefined ? {} : { onError }),
    });
    // v86 answers for presence and interrupt routing from this copy; all else comes from the function.
    host.cpu.devices.pci.register_device({
      pci_id: this.#pciId,
      pci_space: Array.from({ length: 64 }, (_, offset) => this.function.configRead(offset, 1)),
      pci_bars: [],
      name: `virtio ${device.type.name}`,
    });
    // A firmware that has run already will not tell the guest which interrupt this is.
    this.function.configWrite(interruptLine, 1, interrupts.irq(this.#pciId) ?? 0);
  }

  reset(): void {
    this.function.reset();
  }

  save(): PciFunctionState {
    return savePciFunction(this.function);
  }

  restore(state: unknown): void {
    // The host has looked: this type has saved it, on this bus.
    restorePciFunction(this.function, state as PciFunctionState);
  }

  resume(): void {
    this.function.resume();
  }

  detach(): void {
    this.function.detach();
    for (const range of this.#mapped.splice(0)) this.#ports.remove(range);
    const { devices, device_spaces } = this.#host.cpu.devices.pci;
    devices[this.#pciId] = undefined;
    device_spaces[this.#pciId] = undefined;
    this.#left();
  }

  #map(bars: readonly PciBar[]): void {
    for (const range of this.#mapped.splice(0)) this.#ports.remove(range);
    for (const { index, address, size, enabled } of bars) {
      if (!enabled) continue;
      const range = this.#ports.add(address, size, {
        read: (offset, width) => {
          this.#host.ram.refresh();
          return this.function.barRead(index, offset, width);
        },
        write: (offset, width, value) => {
          this.#host.ram.refresh();
          this.function.barWrite(index, offset, width, value);
          return true;
        },
      });
      this.#mapped.push(range);
    }
  }
}
