import type { NotificationListener } from '../../driver/transport.ts';
import { PeerError } from '../../errors.ts';
import { deviceMistakes } from '../../peer-errors.ts';
import type { MmioAccess } from './access.ts';
import type { RegisterAccess } from './register-access.ts';
import { interruptBit, type SharedRegister } from './registers.ts';

const known = interruptBit.QUEUE | interruptBit.CONFIG;

type InterruptRegisters = Pick<RegisterAccess<SharedRegister>, 'read' | 'write'>;

/** How often InterruptStatus may show an event that was acknowledged just before. */
const stuckTries = 1000;

/**
 * How a driver hears from its device: one line, and InterruptStatus behind it.
 *
 * @spec 4.2.3.4.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Notifications From The Device
 */
export class DriverInterrupts {
  listener: NotificationListener | undefined;

  readonly #access: MmioAccess;
  readonly #registers: InterruptRegisters;
  #due = false;
  #busy = false;
  #stuck = 0;

  constructor(access: MmioAccess, registers: InterruptRegisters) {
    this.#access = access;
    this.#registers = registers;
  }

  start(): void {
    this.#access.listenLine(() => void this.#raised());
    this.#access.listenGone?.((error) => this.lost(error));
  }

  stop(): void {
    this.listener = undefined;
    this.#access.listenLine(undefined);
  }

  /** The device cannot be heard any more. */
  lost(error: Error): void {
    this.listener?.gone?.(error);
  }

  /** One look after the other: the line may go up while the last one is under way. */
  async #raised(): Promise<void> {
    this.#due = true;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#due) await this.#look();
    } catch (error) {
      this.lost(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#busy = false;
    }
  }

  /**
   * Acknowledged first, then handled: what the device does in between raises the line again. The line cannot be
   * seen to stay up for another event, so the status is read once more.
   */
  async #look(): Promise<void> {
    this.#due = false;
    const bits = (await this.#registers.read('InterruptStatus')) & known;
    if (bits === 0) return;
    await this.#registers.write('InterruptACK', bits);
    const left = (await this.#registers.read('InterruptStatus')) & known;
    this.#stuck = (left & bits) === 0 ? 0 : this.#stuck + 1;
    if (this.#stuck > stuckTries) {
      throw new PeerError(
        'INTERRUPT_STUCK',
        `the MMIO device never clears bits 0x${left.toString(16)} of InterruptStatus`,
        deviceMistakes.INTERRUPT_STUCK,
      );
    }
    if (left !== 0) this.#due = true;
    if ((bits & interruptBit.QUEUE) !== 0) this.listener?.usedBuffer(undefined);
    if ((bits & interruptBit.CONFIG) !== 0) this.listener?.configChange();
  }
}
