import { interruptBit } from './registers.ts';

const known = interruptBit.QUEUE | interruptBit.CONFIG;

/** InterruptStatus, and the line that is up while a bit of it is set. */
export class InterruptLine {
  readonly #setLine: (level: boolean) => void;
  #status = 0;
  #level = false;

  constructor(setLine: (level: boolean) => void) {
    this.#setLine = setLine;
  }

  get status(): number {
    return this.#status;
  }

  raise(bit: number): void {
    this.#status |= bit;
    this.#update();
  }

  /** The driver has handled these events. False when there are bits among them that mean none. */
  acknowledge(bits: number): boolean {
    this.#status &= ~bits;
    this.#update();
    return (bits & ~known) === 0;
  }

  reset(): void {
    this.acknowledge(known);
  }

  /** Takes a saved status back. The host hears of it from `raiseAgain` on. */
  restore(status: number): void {
    this.#status = status & known;
  }

  /** Tells the host the present level again. */
  raiseAgain(): void {
    this.#level = this.#status !== 0;
    this.#setLine(this.#level);
  }

  #update(): void {
    const level = this.#status !== 0;
    if (level === this.#level) return;
    this.#level = level;
    this.#setLine(level);
  }
}
