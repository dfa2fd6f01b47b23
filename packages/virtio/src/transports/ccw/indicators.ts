import type { DeviceCore } from '../../device/core.ts';
import { exactAddress, type GuestAccess } from './guest-access.ts';

/** Queue indicators of the classic kind, and those of configuration changes: 64 bits, big-endian, bit 0 the lowest. */
const classicQueues = 64;

const classicLength = 8;
/** More queues than there can be, so no sound bit number is refused. */
const mostBits = 2 ** 40;

/** Where the queues of a device are told: one way or the other, as JSON keeps it. */
type QueueIndicators =
  | { readonly kind: 'classic'; readonly address: number }
  | {
      readonly kind: 'adapter';
      readonly summary: number;
      readonly indicator: number;
      readonly bit: number;
      readonly isc: number;
    };

/** A driver's choice of two-stage indicators. */
export interface AdapterArea {
  readonly summary_indicator: bigint;
  readonly indicator: bigint;
  readonly bit_nr: bigint;
  readonly isc: number;
}

/** Saved indicators: JSON. */
export interface IndicatorsState {
  readonly queues: QueueIndicators | null;
  readonly config: number | null;
}

/** What the device's notifications become. */
export interface NotificationSink {
  /** Wants an I/O interruption of the device's subchannel, unless one is pending. */
  attend(): void;
  adapterInterrupt(isc: number): void;
}

/**
 * The indicator bits in guest memory by which a device tells its driver what has happened. An address of 0 takes
 * indicators back. Setting them up gives false for what cannot be, and changes nothing then.
 */
export class Indicators {
  readonly #guest: GuestAccess;
  readonly #core: DeviceCore;
  readonly #sink: NotificationSink;
  #queues: QueueIndicators | undefined;
  #config: number | undefined;

  constructor(guest: GuestAccess, core: DeviceCore, sink: NotificationSink) {
    this.#guest = guest;
    this.#core = core;
    this.#sink = sink;
  }

  setClassic(at: bigint): boolean {
    if (this.#queues?.kind === 'adapter' || this.#core.queues.length > classicQueues) return false;
    if (at === 0n) {
      this.#queues = undefined;
      return true;
    }
    const address = this.#memoryAt(at, classicLength);
    if (address === undefined) return false;
    this.#queues = { kind: 'classic', address };
    return true;
  }

  /** @spec 4.3.2.6.3.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting Up Indicators / Setting Up Two-Stage Queue Indicators */
  setAdapter(area: AdapterArea): boolean {
    if (this.#queues?.kind === 'classic') return false;
    if (area.indicator === 0n && area.summary_indicator === 0n) {
      this.#queues = undefined;
      return true;
    }
    const bit = exactAddress(area.bit_nr) ?? mostBits;
    if (bit >= mostBits || area.isc > 7) return false;
    const length = Math.floor((bit + Math.max(1, this.#core.queues.length) - 1) / 8) + 1;
    const summary = this.#memoryAt(area.summary_indicator, 1);
    const indicator = this.#memoryAt(area.indicator, length);
    if (summary === undefined || indicator === undefined) return false;
    this.#queues = { kind: 'adapter', summary, indicator, bit, isc: area.isc };
    return true;
  }

  setConfig(at: bigint): boolean {
    const address = at === 0n ? undefined : this.#memoryAt(at, classicLength);
    if (at !== 0n && address === undefined) return false;
    this.#config = address;
    return true;
  }

  /** @spec 4.3.3.1.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Host->Guest Notification / Notification via Adapter I/O Interrupts */
  notifyQueue(index: number): void {
    const where = this.#queues;
    if (where === undefined) return;
    if (where.kind === 'classic') {
      this.#setClassicBit(where.address, index);
      return;
    }
    const bit = where.bit + index;
    if (this.#set(where.indicator + Math.floor(bit / 8), 0x80 >>> (bit % 8)) === undefined) return;
    // Set already: the driver has been told, and has yet to look.
    if (this.#set(where.summary, 1) === 0) this.#sink.adapterInterrupt(where.isc);
  }

  notifyConfig(): void {
    if (this.#config !== undefined) this.#setClassicBit(this.#config, 0);
  }

  reset(): void {
    this.#queues = undefined;
    this.#config = undefined;
  }

  save(): IndicatorsState {
    return { queues: this.#queues ?? null, config: this.#config ?? null };
  }

  restore(state: IndicatorsState): void {
    this.#queues = state.queues ?? undefined;
    this.#config = state.config ?? undefined;
  }

  #setClassicBit(address: number, bit: number): void {
    const byte = address + classicLength - 1 - (bit >>> 3);
    if (this.#set(byte, 1 << (bit & 7)) !== undefined) this.#sink.attend();
  }

  #set(address: number, bits: number): number | undefined {
    const before = this.#guest.setBits(address, bits);
    if (before === undefined) {
      const where = `0x${address.toString(16)}`;
      this.#core.violation('ADDRESS_OUT_OF_BOUNDS', `an indicator at ${where} is in no memory any more`);
    }
    return before;
  }

  #memoryAt(at: bigint, length: number): number | undefined {
    const address = exactAddress(at);
    if (address !== undefined && this.#guest.memory.contains(address, length, 'write')) return address;
    this.#core.violation('ADDRESS_OUT_OF_BOUNDS', `indicators at 0x${at.toString(16)} are in no memory`);
    return undefined;
  }
}
