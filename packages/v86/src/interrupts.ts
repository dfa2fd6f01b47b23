import type { V86Cpu } from './emulator.ts';

/**
 * The interrupts of the machine, which are levels. Several devices share one, and it is low only when all of them
 * are: v86 itself does not count.
 */
export class Interrupts {
  readonly #cpu: V86Cpu;
  /** The interrupt that each device asserts now. */
  readonly #asserted = new Map<string, number>();

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
  }

  /** `irq` is the one that the device has now: a guest may have routed it elsewhere, or nowhere. */
  set(device: string, irq: number | undefined, level: boolean): void {
    const before = this.#asserted.get(device);
    if (level) {
      if (before !== undefined && before !== irq) this.set(device, before, false);
      if (irq === undefined) return;
      this.#asserted.set(device, irq);
      this.#cpu.device_raise_irq(irq);
      return;
    }
    // What was raised is lowered, wherever the device's interrupt goes meanwhile.
    const lowered = before ?? irq;
    this.#asserted.delete(device);
    if (lowered === undefined || [...this.#asserted.values()].includes(lowered)) return;
    this.#cpu.device_lower_irq(lowered);
  }

  /** The machine was reset or restored: nobody asserts anything. */
  clear(): void {
    this.#asserted.clear();
  }
}
