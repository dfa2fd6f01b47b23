import type { NotificationListener } from '../../driver/transport.ts';
import type { Allocator } from '../../memory/allocator.ts';
import { exchangeByte } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { ControlBlock } from './control-block.ts';
import type { DriverChannel } from './driver-channel.ts';
import { indicator_address, virtio_thinint_area } from './structures.ts';

/** What a driver's indicators are made of. */
export interface IndicatorParts {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly channel: DriverChannel;
  /** Try two-stage indicators first. */
  readonly adapter: boolean;
  /** The interruption subclass of adapter interruptions. */
  readonly isc: number;
}

/** Bytes of a classic indicator. */
const classicLength = 8;

/**
 * How a driver hears from its device: the bits that the device sets, of queues and of the configuration. Each is taken
 * in one step, so that none is lost that is set meanwhile.
 */
export class DriverIndicators {
  listener: NotificationListener | undefined;

  readonly #parts: IndicatorParts;
  #choice: 'none' | 'classic' | 'adapter' = 'none';
  /** Bytes that hold the bits of the queues: the device sets none elsewhere. */
  #length = 0;
  /** Two-stage indicators: their area, and its length in bytes. */
  #area: { readonly address: number; readonly length: number } | undefined;

  constructor(parts: IndicatorParts) {
    this.#parts = parts;
  }

  /** What is in use; `none` until the queues are set up. */
  get choice(): 'none' | 'classic' | 'adapter' {
    return this.#choice;
  }

  /**
   * Sets everything up for queues below `queues`: two-stage indicators, or classic ones where the device rejects them.
   *
   * @throws {PeerError} COMMAND_FAILED when the device takes neither.
   */
  async set(queues: number): Promise<void> {
    if (this.#choice !== 'none') return;
    this.#length = Math.ceil(queues / 8);
    if (this.#parts.adapter && (await this.#setAdapter(queues))) this.#choice = 'adapter';
    else {
      this.#clear('classic');
      await this.#issueAddress('SET_IND', this.#block.at('classic'));
      this.#choice = 'classic';
    }
    this.#clear('config');
    await this.#issueAddress('SET_CONF_IND', this.#block.at('config'));
  }

  /** The device was reset, and sets none any more. */
  forget(): void {
    this.#choice = 'none';
  }

  /** An interruption of the subchannel. */
  interrupted(): void {
    if (this.#choice === 'classic') this.#takeClassic();
    if (this.#choice !== 'none' && this.#anyConfig()) this.listener?.configChange();
  }

  /** @spec 4.3.3.1.2.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Host->Guest Notification / Notification via Adapter I/O Interrupts */
  adapter(isc: number): void {
    const area = this.#area;
    if (this.#choice !== 'adapter' || area === undefined || isc !== this.#parts.isc) return;
    // Another device's, where several have the subclass.
    if (this.#exchange(this.#block.at('summary')) === 0) return;
    for (let byte = 0; byte < this.#length; byte++) {
      const set = this.#exchange(area.address + byte);
      for (let bit = 0; bit < 8; bit++) {
        if ((set & (0x80 >>> bit)) !== 0) this.listener?.usedBuffer(8 * byte + bit);
      }
    }
  }

  free(): void {
    this.#choice = 'none';
    if (this.#area !== undefined) this.#parts.allocator.free(this.#area.address);
    this.#area = undefined;
  }

  get #block(): ControlBlock {
    return this.#parts.channel.block;
  }

  async #setAdapter(queues: number): Promise<boolean> {
    const { address, length } = this.#areaFor(queues);
    this.#parts.memory.write(address, new Uint8Array(length));
    this.#clear('summary');
    const area = {
      summary_indicator: BigInt(this.#block.at('summary')),
      indicator: BigInt(address),
      bit_nr: 0n,
      isc: this.#parts.isc,
    };
    const data = virtio_thinint_area.encode(area);
    return (await this.#parts.channel.tryIssue('SET_IND_ADAPTER', { data })) !== undefined;
  }

  #areaFor(queues: number): { readonly address: number; readonly length: number } {
    const length = 8 * Math.max(1, Math.ceil(queues / 64));
    if (this.#area !== undefined && this.#area.length >= length) return this.#area;
    if (this.#area !== undefined) this.#parts.allocator.free(this.#area.address);
    this.#area = { address: this.#parts.allocator.allocate(length, 8), length };
    return this.#area;
  }

  async #issueAddress(command: 'SET_IND' | 'SET_CONF_IND', address: number): Promise<void> {
    await this.#parts.channel.issue(command, {
      data: indicator_address.encode({ address: BigInt(address) }),
    });
  }

  #clear(part: 'classic' | 'config' | 'summary'): void {
    this.#block.write(part, new Uint8Array(classicLength));
  }

  #takeClassic(): void {
    const at = this.#block.at('classic');
    for (let byte = 0; byte < this.#length; byte++) {
      const set = this.#exchange(at + classicLength - 1 - byte);
      for (let bit = 0; bit < 8; bit++) {
        if ((set & (1 << bit)) !== 0) this.listener?.usedBuffer(8 * byte + bit);
      }
    }
  }

  #anyConfig(): boolean {
    return (this.#exchange(this.#block.at('config') + classicLength - 1) & 1) !== 0;
  }

  /** Takes a byte of indicators, and leaves none set. */
  #exchange(address: number): number {
    let taken = 0;
    this.#parts.memory.pieces(address, 1, 'write', (region, offset) => {
      taken = exchangeByte(region, offset, 0);
    });
    return taken;
  }
}
