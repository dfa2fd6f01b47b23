import { intercept, type V86Cpu } from './emulator.ts';

/**
 * The interrupts of the machine, which are levels. Several devices share one, and it is low only when all of them
 * are: v86 itself does not count.
 */
export class Interrupts {
  readonly #cpu: V86Cpu;
  /** The interrupt that each device asserts now. */
  readonly #asserted = new Map<string, number>();
  /** The interrupts of devices that want to raise them when the access is over. */
  readonly #waiting = new Map<string, number>();
  #inAccess = false;

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    // v86 calls it between two runs of instructions, and then looks for interrupts.
    intercept(cpu, 'run_hardware_timers', (original) => (acpi, now) => {
      this.#raiseWaiting();
      return original(acpi, now);
    });
  }

  /**
   * The guest accesses memory that is a device's. v86 takes an interrupt as soon as it is raised, and only between two
   * instructions may it be: the compiled code around such an access would go on, and the interrupt be lost. After an
   * access to a port it looks. What is raised until `endAccess` waits for the end of the run of instructions.
   */
  beginAccess(): void {
    this.#inAccess = true;
  }

  endAccess(): void {
    this.#inAccess = false;
  }

  /** `irq` is the one that the device has now: a guest may have routed it elsewhere, or nowhere. */
  set(device: string, irq: number | undefined, level: boolean): void {
    const before = this.#asserted.get(device);
    if (level) {
      if (before !== undefined && before !== irq) this.set(device, before, false);
      if (irq === undefined) return;
      if (this.#inAccess) {
        this.#waiting.set(device, irq);
        return;
      }
      this.#asserted.set(device, irq);
      this.#cpu.device_raise_irq(irq);
      return;
    }
    this.#waiting.delete(device);
    // What was raised is lowered, wherever the device's interrupt goes meanwhile.
    const lowered = before ?? irq;
    this.#asserted.delete(device);
    if (lowered === undefined || [...this.#asserted.values()].includes(lowered)) return;
    this.#cpu.device_lower_irq(lowered);
  }

  /** The machine was reset or restored: nobody asserts anything. */
  clear(): void {
    this.#asserted.clear();
    this.#waiting.clear();
  }

  #raiseWaiting(): void {
    if (this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [device, irq] of waiting) this.set(device, irq, true);
  }
}
