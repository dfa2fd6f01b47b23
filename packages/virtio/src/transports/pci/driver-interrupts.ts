import type { NotificationListener } from '../../driver/transport.ts';
import { UsageError } from '../../errors.ts';
import type { PciAccess, PciMessage } from './access.ts';
import type { MsixCapability } from './capabilities.ts';
import {
  commandBit,
  msix_cap,
  msix_table_entry,
  msixControl,
  msixEntryRegisters,
  pci_header,
} from './pci-registers.ts';
import type { Registers } from './register-access.ts';
import { isrBit, noVector } from './registers.ts';

/** Which interrupts a driver uses. */
export type InterruptChoice = 'msix' | 'intx';

/** A vector that has its message, and the events that are mapped to it. */
interface Vector {
  readonly number: number;
  readonly message: PciMessage;
  readonly queues: Set<number>;
  config: boolean;
  /** The device would not map an event to it. */
  refused: boolean;
}

/** What the driver's interrupts are made of. */
export interface InterruptParts {
  readonly access: PciAccess;
  readonly common: Registers<'config_msix_vector' | 'queue_msix_vector'>;
  /** Reads the ISR status, which clears it. */
  readonly readIsr: () => Promise<number>;
  readonly msix: MsixCapability | undefined;
  /** How many vectors to use at most. */
  readonly mostVectors: number;
  readonly onError: (error: unknown) => void;
}

const { message_address_lo, message_address_hi, message_data, vector_control } = msixEntryRegisters.register;
const commandOffset: number = pci_header.field.command.offset;

/**
 * How a driver hears from its device: one MSI-X vector for each queue while there are enough, else queues
 * share vectors, and where the device refuses them, INTx. Every mapping is read back.
 *
 * @spec 4.1.5.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
 */
export class DriverInterrupts {
  listener: NotificationListener | undefined;

  readonly #parts: InterruptParts;
  readonly #vectors: Vector[] = [];
  #choice: InterruptChoice = 'intx';
  #exhausted = false;

  private constructor(parts: InterruptParts) {
    this.#parts = parts;
  }

  /** @throws {UsageError} BAD_ARGUMENT when neither kind of interrupt can be had. */
  static async start(parts: InterruptParts): Promise<DriverInterrupts> {
    const interrupts = new DriverInterrupts(parts);
    const useMsix = parts.msix !== undefined && parts.access.allocateMessage !== undefined;
    if (useMsix && parts.mostVectors > 0) await interrupts.#startMsix(parts.msix);
    else {
      // Whoever drove the function before may have left MSI-X on, and the line is not used then.
      await interrupts.#setControl(0);
      await interrupts.#startLine();
    }
    return interrupts;
  }

  /** What is in use now. */
  get choice(): InterruptChoice {
    return this.#choice;
  }

  /** The vectors that events are mapped to. */
  get vectorsInUse(): number {
    return this.#vectors.filter(({ queues, config }) => config || queues.size > 0).length;
  }

  /** Maps configuration changes. */
  async mapConfig(): Promise<void> {
    if (this.#choice === 'intx' || this.#vectors.some(({ config }) => config)) return;
    const vector = await this.#map('config_msix_vector');
    if (vector !== undefined) vector.config = true;
  }

  /** Maps a queue, which is selected. */
  async mapQueue(index: number): Promise<void> {
    if (this.#choice === 'intx') return;
    const vector = await this.#map('queue_msix_vector');
    vector?.queues.add(index);
  }

  /** The queue was reset, so nothing is mapped for it. */
  forgetQueue(index: number): void {
    for (const { queues } of this.#vectors) queues.delete(index);
  }

  /** The device was reset, so nothing is mapped. */
  forgetAll(): void {
    for (const vector of this.#vectors) {
      vector.queues.clear();
      vector.config = false;
      vector.refused = false;
    }
  }

  async stop(): Promise<void> {
    this.listener = undefined;
    if (this.#choice === 'msix') await this.#setControl(0);
    // From here on a legacy function's configuration is where it is without MSI-X.
    this.#choice = 'intx';
    this.#parts.access.listenLine?.(undefined);
    for (const { message } of this.#vectors.splice(0)) message.free();
  }

  async #startMsix(msix: MsixCapability): Promise<void> {
    this.#choice = 'msix';
    await this.#setControl(msixControl.ENABLE | msixControl.FUNCTION_MASK);
    // Whoever drove the function before may have left vectors open.
    for (let number = 0; number < msix.size; number++) await this.#writeEntry(number, vector_control, 1);
    await this.#setControl(msixControl.ENABLE);
  }

  async #startLine(): Promise<void> {
    const { access } = this.#parts;
    if (access.listenLine === undefined) {
      throw new UsageError(
        'BAD_ARGUMENT',
        'the access to the PCI function has neither usable MSI-X nor INTx',
      );
    }
    this.#choice = 'intx';
    access.listenLine(() => void this.#lineRaised());
    const command = await access.configRead(commandOffset, 2);
    await access.configWrite(commandOffset, 2, command & ~commandBit.INTERRUPT_DISABLE);
  }

  /** The device refuses vectors: from now on the line tells of everything, which needs no mapping. */
  async #fallBack(): Promise<void> {
    await this.#setControl(0);
    this.forgetAll();
    await this.#startLine();
    // What a vector would have told meanwhile.
    this.listener?.usedBuffer(undefined);
  }

  /** Maps the event of a register: to a vector of its own, else to one that is shared. */
  async #map(register: 'config_msix_vector' | 'queue_msix_vector'): Promise<Vector | undefined> {
    const own = await this.#freeVector();
    const shared = this.#vectors.filter((vector) => vector !== own && !vector.refused).reverse();
    for (const vector of own === undefined ? shared : [own, ...shared]) {
      await this.#parts.common.write(register, vector.number);
      if ((await this.#parts.common.read(register)) === vector.number) return vector;
      vector.refused = true;
    }
    await this.#parts.common.write(register, noVector);
    await this.#fallBack();
    return undefined;
  }

  /** A vector that nothing is mapped to, new if need be. */
  async #freeVector(): Promise<Vector | undefined> {
    const { access, msix, mostVectors } = this.#parts;
    const unused = this.#vectors.find((one) => !one.config && !one.refused && one.queues.size === 0);
    const number = this.#vectors.length;
    if (unused !== undefined || this.#exhausted || number >= Math.min(msix?.size ?? 0, mostVectors))
      return unused;
    const message = await access.allocateMessage?.(() => this.#vectorFired(number), number);
    if (message === undefined) {
      this.#exhausted = true;
      return undefined;
    }
    await this.#writeEntry(number, message_address_lo, message.address % 2 ** 32);
    await this.#writeEntry(number, message_address_hi, Math.floor(message.address / 2 ** 32));
    await this.#writeEntry(number, message_data, message.data);
    await this.#writeEntry(number, vector_control, 0);
    const vector: Vector = { number, message, queues: new Set(), config: false, refused: false };
    this.#vectors.push(vector);
    return vector;
  }

  #vectorFired(number: number): void {
    const vector = this.#vectors[number];
    if (vector === undefined || this.#choice !== 'msix') return;
    for (const queue of vector.queues) this.listener?.usedBuffer(queue);
    if (vector.config) this.listener?.configChange();
  }

  /** @spec 4.1.5.4.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Notification of Device Configuration Changes */
  async #lineRaised(): Promise<void> {
    try {
      const isr = await this.#parts.readIsr();
      if ((isr & isrBit.QUEUE) !== 0) this.listener?.usedBuffer(undefined);
      if ((isr & isrBit.CONFIG) !== 0) this.listener?.configChange();
    } catch (error) {
      this.#parts.onError(error);
    }
  }

  async #writeEntry(vector: number, register: { readonly offset: number }, value: number): Promise<void> {
    const { access, msix } = this.#parts;
    if (msix === undefined) return;
    const { bar, offset } = msix.table;
    await access.barWrite(bar, offset + vector * msix_table_entry.size + register.offset, 4, value);
  }

  async #setControl(bits: number): Promise<void> {
    const { access, msix } = this.#parts;
    if (msix === undefined) return;
    const at = msix.offset + msix_cap.field.message_control.offset;
    const others = (await access.configRead(at, 2)) & ~(msixControl.ENABLE | msixControl.FUNCTION_MASK);
    await access.configWrite(at, 2, others | bits);
  }
}
