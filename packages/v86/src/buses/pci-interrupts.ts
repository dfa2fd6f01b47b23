import { intercept, type V86Cpu } from '../emulator.ts';
import type { Interrupts } from '../interrupts.ts';

/** The four PCI interrupt lines. Functions share them, v86's own devices with ours. */
export class PciInterrupts {
  readonly #cpu: V86Cpu;
  readonly #interrupts: Interrupts;

  constructor(cpu: V86Cpu, interrupts: Interrupts) {
    this.#cpu = cpu;
    this.#interrupts = interrupts;
    intercept(cpu.devices.pci, 'raise_irq', () => (id) => this.set(id, true));
    intercept(cpu.devices.pci, 'lower_irq', () => (id) => this.set(id, false));
  }

  set(pciId: number, level: boolean): void {
    this.#interrupts.set(`PCI ${pciId}`, this.irq(pciId), level);
  }

  /** The interrupt to which the ISA bridge routes the line of a function; `undefined` while it routes it nowhere. */
  irq(pciId: number): number | undefined {
    const { pci } = this.#cpu.devices;
    const pin = ((pci.device_spaces[pciId]?.[0x3c >> 2] ?? 0) >> 8) & 0xff;
    const line = (pin + (pciId >> 3) - 2) & 3;
    const irq = pci.isa_bridge_space8[0x60 + line] ?? 0;
    return irq > 0 && irq < 16 ? irq : undefined;
  }
}
