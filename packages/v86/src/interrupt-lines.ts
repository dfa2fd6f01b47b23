import { intercept, type V86Cpu } from './emulator.ts';

/**
 * The PCI interrupt lines. Several functions share one, and it is low only when all of them are: v86 itself
 * does not count, so its own devices are counted here as well.
 */
export class InterruptLines {
  readonly #cpu: V86Cpu;
  /** The interrupt that each function asserts now, by device and function number. */
  readonly #asserted = new Map<number, number>();

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    intercept(cpu.devices.pci, 'raise_irq', () => (id) => this.set(id, true));
    intercept(cpu.devices.pci, 'lower_irq', () => (id) => this.set(id, false));
  }

  set(pciId: number, level: boolean): void {
    const before = this.#asserted.get(pciId);
    if (level) {
      const irq = this.irq(pciId);
      if (before !== undefined && before !== irq) this.set(pciId, false);
      if (irq === undefined) return;
      this.#asserted.set(pciId, irq);
      this.#cpu.device_raise_irq(irq);
      return;
    }
    // A guest may have routed the line elsewhere meanwhile: what was raised is lowered.
    const irq = before ?? this.irq(pciId);
    this.#asserted.delete(pciId);
    if (irq === undefined || [...this.#asserted.values()].includes(irq)) return;
    this.#cpu.device_lower_irq(irq);
  }

  /** The machine was reset or restored: nobody asserts anything. */
  clear(): void {
    this.#asserted.clear();
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
