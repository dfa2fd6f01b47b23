import type { Device } from 'virtio/device';
import type { BarChoice, PciLayout, PciLegacySupport } from 'virtio/transports/pci';
import type { BusHost } from '../bus-host.ts';
import type { V86Cpu } from '../emulator.ts';
import type { Bus, Placed, PlaceOptions } from './bus.ts';
import { freeSlot } from './free-slot.ts';
import { PciInterrupts } from './pci-interrupts.ts';
import { PciSlot } from './pci-slot.ts';
import { PortMap } from './port-map.ts';

const configData = 0xcfc;
const buses = new WeakMap<BusHost, PciSlots>();

/** @internal A PCI bus for devices with this legacy interface, or with none. */
export function pciBus(name: Bus['name'], legacy?: PciLegacySupport): Bus {
  return {
    name,
    place: (host, device, options) => PciSlots.of(host).place(name, legacy, device, options),
  };
}

/** The modern structures, behind one BAR. v86 cuts 16-bit accesses to memory; those to ports arrive as they were made. */
function layoutIn(bar: number): PciLayout {
  const inPorts: readonly BarChoice[] = [{ bar, kind: 'io' }];
  return { common: inPorts, notify: inPorts, isr: inPorts, device: inPorts };
}

/** A machine's PCI bus with our functions on it. */
class PciSlots {
  readonly #host: BusHost;
  readonly #ports: PortMap;
  readonly #interrupts: PciInterrupts;
  readonly #slots = new Map<number, PciSlot>();

  static of(host: BusHost): PciSlots {
    const bus = buses.get(host) ?? new PciSlots(host);
    buses.set(host, bus);
    return bus;
  }

  private constructor(host: BusHost) {
    this.#host = host;
    this.#ports = new PortMap(host.cpu.io);
    this.#interrupts = new PciInterrupts(host.cpu, host.interrupts);
    this.#ports.add(configData, 4, {
      read: (offset, width) => this.#selected()?.function.configRead(this.#register(offset), width),
      write: (offset, width, value) => {
        const selected = this.#selected();
        selected?.function.configWrite(this.#register(offset), width, value);
        return selected !== undefined;
      },
    });
  }

  place(
    bus: Bus['name'],
    legacy: PciLegacySupport | undefined,
    device: Device,
    options: PlaceOptions,
  ): Placed {
    const { devices } = this.#pci;
    const number = freeSlot(
      {
        name: 'PCI slot',
        first: 1,
        searchFrom: 16,
        last: 31,
        occupant: (slot) => devices[slot << 3]?.name,
      },
      options.slot,
    );
    // The legacy structure is in BAR 0, where there is one.
    const layout = layoutIn(legacy === undefined ? 0 : 1);
    const parts = { host: this.#host, ports: this.#ports, interrupts: this.#interrupts, layout, legacy };
    const slot = new PciSlot(number, bus, device, options, parts, () => this.#slots.delete(number));
    this.#slots.set(number, slot);
    return slot;
  }

  get #pci(): V86Cpu['devices']['pci'] {
    return this.#host.cpu.devices.pci;
  }

  /** The function that the guest's configuration address register names, if it is one of ours. */
  #selected(): PciSlot | undefined {
    const address = this.#pci.pci_addr;
    if (address[2] !== 0 || (address[3]! & 0x80) === 0 || (address[1]! & 7) !== 0) return undefined;
    const slot = this.#slots.get(address[1]! >> 3);
    if (slot !== undefined) this.#host.ram.refresh();
    return slot;
  }

  #register(offset: number): number {
    return (this.#pci.pci_addr[0]! & 0xfc) + offset;
  }
}
