import type { Device } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { orb, orbCtrl0, orbCtrl1, orbLength } from './ccw.ts';
import type { ConditionCode } from './channel-io.ts';
import { ControlUnit, type ControlUnitOptions, type ControlUnitState } from './control-unit.ts';
import { GuestAccess } from './guest-access.ts';
import { pmcwChars, pmcwFlag, schib, schidBase, schidOf } from './schib.ts';
import { Subchannel, type SubchannelState } from './subchannel.ts';

/** The program interruptions that an I/O instruction may end with instead of a condition code: their codes. */
export const programInterruption = Object.freeze({
  /** An operand is in no memory. */
  ADDRESSING: 0x05,
  /** An operand is not at a multiple of 4. */
  SPECIFICATION: 0x06,
  /** An operand holds what is not allowed. */
  OPERAND: 0x15,
} as const);

export type ProgramInterruption = (typeof programInterruption)[keyof typeof programInterruption];

/** How an I/O instruction ends: 0 to 3 is its condition code, any other the code of a program interruption. */
export type InstructionEnd = ConditionCode | ProgramInterruption;

/** What an I/O interruption says. */
export interface IoInterruption {
  readonly schid: number;
  readonly parameter: number;
  /** The interruption subclass, 0 to 7. */
  readonly isc: number;
}

/** What a host lends to its channel subsystem. */
export interface ChannelSubsystemOptions {
  /** The guest's memory, by absolute addresses. */
  readonly memory: GuestMemory;
  /**
   * An I/O interruption is pending. It goes when TEST SUBCHANNEL takes the status, which a guest may do by itself: a
   * host that delivers late asks `isPending` first.
   */
  interrupt(interruption: IoInterruption): void;
  /** An adapter interruption of a subclass is pending. */
  adapterInterrupt(isc: number): void;
}

/** How a device is put on a subchannel. */
export interface CcwDeviceOptions extends ControlUnitOptions {
  /** The device number, 0 to 65535; the next that is free, unless told. */
  readonly devno?: number;
  /** The number of the subchannel, 0 to 65535; the next that is free, unless told. */
  readonly subchannel?: number;
}

/** A saved device of a channel subsystem: JSON. */
export interface CcwDeviceState {
  readonly subchannel: SubchannelState;
  readonly unit: ControlUnitState;
}

/** A device on its subchannel. */
interface Attached {
  readonly schid: number;
  readonly subchannel: Subchannel;
  readonly unit: ControlUnit;
  readonly cookie: bigint;
}

/** The id of the one channel path, which all devices share. */
const chpid = 0;

const notThere = -22n;

/** Bits of an ORB that must be 0, or ask for what is not installed. */
const refusedCtrl0 = orbCtrl0.TRANSPORT_MODE;
const refusedCtrl1 = 0x3e | orbCtrl1.MODIFIED_IDA;

/**
 * A channel subsystem whose devices are virtio's. A host that carries a guest's instructions calls a method for each,
 * with its operand, and gives the guest the condition code. What a guest puts in its memory never throws here.
 *
 * @example
 * const css = new ChannelSubsystem({ memory, interrupt: …, adapterInterrupt: … });
 * css.add(blkDevice({ storage }), { devno: 0x1000 });
 */
export class ChannelSubsystem {
  readonly #options: ChannelSubsystemOptions;
  readonly #guest: GuestAccess;
  readonly #attached = new Map<number, Attached>();
  /** By host cookie: its place here, and 1. */
  readonly #byCookie: (Attached | undefined)[] = [];

  constructor(options: ChannelSubsystemOptions) {
    this.#options = options;
    this.#guest = new GuestAccess(options.memory);
  }

  /** The subsystem identification words of the devices, rising. */
  get schids(): number[] {
    return [...this.#attached.keys()].sort((a, b) => a - b);
  }

  /**
   * Puts a device on a subchannel, whose `schid` comes back.
   *
   * @throws {UsageError} BAD_ARGUMENT for a number that is taken or none; BAD_STATE when the device is in use.
   */
  add(device: Device, options: CcwDeviceOptions = {}): number {
    const schid = schidOf(this.#free('subchannel', options.subchannel, (one) => one.schid - schidBase));
    const devno = this.#free('devno', options.devno, (one) => one.subchannel.devno);
    const unit = new ControlUnit(device, this.#guest, options, {
      attend: () => subchannel.attend(),
      adapterInterrupt: (isc) => this.#options.adapterInterrupt(isc),
    });
    const subchannel: Subchannel = new Subchannel(this.#guest, devno, chpid, unit, () =>
      this.#options.interrupt({ schid, parameter: subchannel.parameter, isc: subchannel.isc }),
    );
    const attached = { schid, subchannel, unit, cookie: BigInt(this.#byCookie.length + 1) };
    this.#attached.set(schid, attached);
    this.#byCookie.push(attached);
    return schid;
  }

  /** Takes a device away, so that another transport may have it. */
  remove(schid: number): void {
    const attached = this.#known(schid);
    this.#attached.delete(schid);
    this.#byCookie[Number(attached.cookie) - 1] = undefined;
    attached.unit.detach();
  }

  /** @throws {UsageError} BAD_ARGUMENT when no device of ours is there. */
  unit(schid: number): ControlUnit {
    return this.#known(schid).unit;
  }

  /** True while a subchannel has status that TEST SUBCHANNEL has not taken. */
  isPending(schid: number): boolean {
    return this.#at(schid)?.subchannel.pending === true;
  }

  /** SSCH, of the ORB at an address. */
  startSubchannel(schid: number, address: number): InstructionEnd {
    const view = this.#operand(schid, address, orbLength);
    if (typeof view === 'number') return view;
    const whole = new Uint8Array(orb.size);
    whole.set(new Uint8Array(view.buffer));
    const block = orb.read(new DataView(whole.buffer));
    const bad = (block.ctrl0 & refusedCtrl0) !== 0 || (block.ctrl1 & refusedCtrl1) !== 0;
    if (bad || block.cpa >= 2 ** 31) return programInterruption.OPERAND;
    return this.#at(schid)?.subchannel.start(block) ?? 3;
  }

  /** TSCH, which stores an IRB. */
  testSubchannel(schid: number, address: number): InstructionEnd {
    const bad = this.#badOperand(schid, address);
    if (bad !== undefined) return bad;
    const attached = this.#at(schid);
    if (attached === undefined) return 3;
    // Status is taken when it can be given, and not before.
    if (!this.#guest.memory.contains(address, 64, 'write')) return programInterruption.ADDRESSING;
    const { cc, irb } = attached.subchannel.test();
    if (cc !== 3) this.#guest.write(address, irb);
    return cc;
  }

  /** STSCH, which stores a SCHIB: one without a device where a subchannel follows that has one. */
  storeSubchannel(schid: number, address: number): InstructionEnd {
    const bad = this.#badOperand(schid, address);
    if (bad !== undefined) return bad;
    const attached = this.#at(schid);
    if (attached === undefined && schid >= (this.schids.at(-1) ?? 0)) return 3;
    const block = attached?.subchannel.store() ?? new Uint8Array(schib.size);
    return this.#guest.write(address, block) ? 0 : programInterruption.ADDRESSING;
  }

  /** MSCH, of the SCHIB at an address. */
  modifySubchannel(schid: number, address: number): InstructionEnd {
    const view = this.#operand(schid, address, schib.size);
    if (typeof view === 'number') return view;
    const block = schib.read(view);
    const { flags, chars } = block.pmcw;
    const reserved = (flags & pmcwFlag.RESERVED) | (chars & pmcwChars.RESERVED);
    if (reserved !== 0 || (chars & pmcwChars.EXTENDED_MEASUREMENTS) !== 0) return programInterruption.OPERAND;
    return this.#at(schid)?.subchannel.modify(block) ?? 3;
  }

  /** HSCH. */
  haltSubchannel(schid: number): InstructionEnd {
    return this.#badSchid(schid) ?? this.#at(schid)?.subchannel.halt() ?? 3;
  }

  /** CSCH. */
  clearSubchannel(schid: number): InstructionEnd {
    return this.#badSchid(schid) ?? this.#at(schid)?.subchannel.clear() ?? 3;
  }

  /** RSCH. */
  resumeSubchannel(schid: number): InstructionEnd {
    return this.#badSchid(schid) ?? this.#at(schid)?.subchannel.resume() ?? 3;
  }

  /** XSCH. */
  cancelSubchannel(schid: number): InstructionEnd {
    return this.#badSchid(schid) ?? this.#at(schid)?.subchannel.cancel() ?? 3;
  }

  /**
   * DIAGNOSE 0x500 with subcode 3: general registers 2, 3 and 4 as the guest has them, unsigned; what goes into register
   * 2, signed: a host cookie, or a negative number when there is no such subchannel or queue.
   *
   * @spec 4.3.3.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Guest->Host Notification
   */
  notify(gpr2: bigint, gpr3: bigint, gpr4: bigint): bigint {
    return this.notifyQueue(Number(BigInt.asUintN(32, gpr2)), Number(BigInt.asUintN(32, gpr3)), gpr4);
  }

  /** The same of registers that were taken apart: a subchannel, 32 bits of data, and a cookie, which may be anything. */
  notifyQueue(schid: number, data: number, cookie: bigint): bigint {
    const place = cookie > 0n && cookie <= this.#byCookie.length ? Number(cookie) - 1 : -1;
    const known = this.#byCookie[place];
    // A cookie is the guest's to lose or to invent; the subchannel decides.
    const attached = known?.schid === schid ? known : this.#at(schid);
    if (attached === undefined || !attached.unit.notify(data)) return notThere;
    return attached.cookie;
  }

  /** A reset of the whole subsystem: devices reset, subchannels disabled. */
  reset(): void {
    for (const { subchannel, unit } of this.#attached.values()) {
      subchannel.reset();
      unit.reset();
    }
  }

  /** All that is needed for one device to go on from here in another process. */
  save(schid: number): CcwDeviceState {
    const { subchannel, unit } = this.#known(schid);
    return { subchannel: subchannel.save(), unit: unit.save() };
  }

  /**
   * Takes a saved device. Call `resume` when the host is ready for interruptions.
   *
   * @throws {UsageError} BAD_STATE when the state is of another device: this one stays reset.
   */
  restore(schid: number, state: CcwDeviceState): void {
    const { subchannel, unit } = this.#known(schid);
    subchannel.reset();
    unit.restore(state.unit);
    subchannel.restore(state.subchannel);
  }

  /** Goes on after a restore: what was pending is pending again, every queue is looked at, its driver notified. */
  resume(schid: number): void {
    const { subchannel, unit } = this.#known(schid);
    subchannel.interruptAgain();
    unit.resume();
  }

  #at(schid: number): Attached | undefined {
    return this.#attached.get(schid);
  }

  #known(schid: number): Attached {
    const attached = this.#attached.get(schid);
    if (attached !== undefined) return attached;
    throw new UsageError('BAD_ARGUMENT', `subchannel 0x${schid.toString(16)} has no device`);
  }

  #badSchid(schid: number): ProgramInterruption | undefined {
    return (schid & 0x0001_0000) === 0 ? programInterruption.OPERAND : undefined;
  }

  #badOperand(schid: number, address: number): ProgramInterruption | undefined {
    return address % 4 === 0 ? this.#badSchid(schid) : programInterruption.SPECIFICATION;
  }

  #operand(schid: number, address: number, length: number): DataView | ProgramInterruption {
    const bad = this.#badOperand(schid, address);
    return bad ?? this.#guest.read(address, length) ?? programInterruption.ADDRESSING;
  }

  #free(what: string, given: number | undefined, numberOf: (one: Attached) => number): number {
    const taken = new Set([...this.#attached.values()].map(numberOf));
    let free = 0;
    while (taken.has(free)) free++;
    const chosen = given ?? free;
    if (!Number.isInteger(chosen) || chosen < 0 || chosen > 0xffff || taken.has(chosen)) {
      throw new UsageError('BAD_ARGUMENT', `${what} ${chosen} is taken, or not between 0 and 65535`);
    }
    return chosen;
  }
}
