import * as isrBit from './isr-bit.ts';
import type { MsixTable } from './msix-table.ts';
import { noVector } from './registers.ts';

/** How a function tells its driver that something happened: INTx with the ISR status, or MSI-X. */
export class Interrupts {
  /** Interrupt Disable of the command register: the line stays low. */
  lineDisabled = false;

  readonly #msix: MsixTable | undefined;
  readonly #accepts: (vector: number) => boolean;
  readonly #setLine: (level: boolean) => void;
  /** @internal The ISR status. */
  isr = 0;
  /** The vector of configuration changes. */
  configVector: number = noVector;
  /** @internal */
  readonly queueVectors: Uint16Array;
  #level = false;

  constructor(
    queues: number,
    msix: MsixTable | undefined,
    accepts: (vector: number) => boolean,
    setLine: (level: boolean) => void,
  ) {
    this.queueVectors = new Uint16Array(queues).fill(noVector);
    this.#msix = msix;
    this.#accepts = accepts;
    this.#setLine = setLine;
  }

  /**
   * A used buffer notification.
   *
   * @spec 4.1.5.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Used Buffer Notifications
   */
  notifyQueue(index: number): void {
    if (this.#msix?.enabled === true) {
      const vector = this.queueVectors[index] ?? noVector;
      if (vector !== noVector) this.#msix.fire(vector);
      return;
    }
    this.isr |= isrBit.QUEUE;
    this.updateLine();
  }

  /**
   * A configuration change notification. Its ISR bit is set with MSI-X as well.
   *
   * @spec 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
   * @spec 4.1.5.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Notification of Device Configuration Changes
   */
  notifyConfig(): void {
    this.isr |= isrBit.CONFIG;
    this.updateLine();
    if (this.#msix?.enabled === true && this.configVector !== noVector) this.#msix.fire(this.configVector);
  }

  /** The ISR status, which is 0 from then on. */
  takeIsr(): number {
    const isr = this.isr;
    this.isr = 0;
    this.updateLine();
    return isr;
  }

  /** The Interrupt Status bit of PCI's status register. */
  get interruptStatus(): boolean {
    return this.isr !== 0 && this.#msix?.enabled !== true;
  }

  /** The line follows the ISR status, its disable bit and whether MSI-X is on. */
  updateLine(): void {
    const level = this.interruptStatus && !this.lineDisabled;
    if (level === this.#level) return;
    this.#level = level;
    this.#setLine(level);
  }

  /** Tells the host the present level again, and sends what is pending. */
  raiseAgain(): void {
    this.updateLine();
    this.#setLine(this.#level);
    this.#msix?.deliverPending();
  }

  /**
   * Maps configuration changes to a vector, or to none.
   *
   * @spec 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
   */
  mapConfig(vector: number): void {
    this.configVector = this.#accepted(vector);
  }

  queueVector(index: number): number {
    return this.queueVectors[index] ?? noVector;
  }

  mapQueue(index: number, vector: number): void {
    if (index < this.queueVectors.length) this.queueVectors[index] = this.#accepted(vector);
  }

  /** The device was reset: no event is mapped, nothing is pending, the line is low. */
  reset(): void {
    this.queueVectors.fill(noVector);
    this.configVector = noVector;
    this.#msix?.clearPending();
    this.isr = 0;
    this.updateLine();
  }

  /** @internal The vector, if there is one of its number; else none. */
  inTable(vector: number): number {
    return vector < (this.#msix?.size ?? 0) ? vector : noVector;
  }

  #accepted(vector: number): number {
    const mapped = this.inTable(vector);
    return mapped !== noVector && this.#accepts(mapped) ? mapped : noVector;
  }
}
