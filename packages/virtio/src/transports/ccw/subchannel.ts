import type { StructValue } from '../../spec/layout.ts';
import { type orb, orbCtrl0, orbCtrl1 } from './ccw.ts';
import type { ConditionCode } from './channel-io.ts';
import { ChannelProgram, type CommandUnit, type ProgramEnd, type ProgramStart } from './channel-program.ts';
import type { GuestAccess } from './guest-access.ts';
import { iscShift, onlyPath, type pmcw, pmcwChars, pmcwFlag, schib } from './schib.ts';
import {
  activityControl,
  concurrentSense,
  deviceStatus,
  functionControl,
  irb,
  irbLength,
  scsw,
  scswCtrlMask,
  scswFlag,
  statusControl,
  subchannelStatus,
} from './status.ts';

type Orb = StructValue<(typeof orb)['codecs']>;
type Pmcw = StructValue<(typeof pmcw)['codecs']>;
type Scsw = StructValue<(typeof scsw)['codecs']>;
type Schib = StructValue<(typeof schib)['codecs']>;

/** The device on a subchannel. */
export interface SubchannelUnit extends CommandUnit {
  /** Its sense data, which are gone then. */
  takeSense(): Uint8Array;
  /** The subchannel was enabled or disabled. */
  enabled(on: boolean): void;
}

/** A saved subchannel: JSON. */
export interface SubchannelState {
  readonly intparm: number;
  readonly flags: number;
  readonly lpm: number;
  readonly mbi: number;
  readonly pom: number;
  readonly lpum: number;
  readonly chars: number;
  readonly mba: string;
  readonly scsw: Scsw;
  readonly sense: readonly number[] | null;
  readonly attention: boolean;
  readonly suspended: ProgramStart | null;
}

const { PENDING, PRIMARY, SECONDARY, INTERMEDIATE, ALERT } = statusControl;
const { SUSPENDED, RESUME_PENDING, START_PENDING } = activityControl;

/** Bits of a PMCW that MODIFY SUBCHANNEL takes. */
const modifiable =
  pmcwFlag.ISC | pmcwFlag.ENABLED | pmcwFlag.LIMIT_MODE | pmcwFlag.MEASUREMENT_MODE | pmcwFlag.MULTIPATH;
const modifiableChars = pmcwChars.MEASUREMENT_FORMAT1 | pmcwChars.CONCURRENT_SENSE;

/** What an ORB says that the SCSW shows, at the same bits. */
const shownOfOrb =
  orbCtrl0.KEY |
  orbCtrl0.SUSPEND |
  orbCtrl0.FORMAT1 |
  orbCtrl0.PREFETCH |
  orbCtrl0.INITIAL_STATUS |
  orbCtrl0.ADDRESS_LIMIT |
  orbCtrl0.SUPPRESS_SUSPENDED;

/** Subchannel status that a sound program may end with. */
const harmless = subchannelStatus.PROGRAM_CONTROLLED_INTERRUPTION;
const ended = deviceStatus.CHANNEL_END | deviceStatus.DEVICE_END;

const idle: Scsw = { flags: 0, ctrl: 0, cpa: 0, dstat: 0, cstat: 0, count: 0 };

/**
 * One subchannel with its device: what the I/O instructions do to it. A channel program runs within START
 * SUBCHANNEL; its end is pending from then on, until TEST SUBCHANNEL takes it, once.
 */
export class Subchannel {
  readonly devno: number;

  readonly #guest: GuestAccess;
  readonly #unit: SubchannelUnit;
  /** Makes an I/O interruption pending. */
  readonly #interrupt: () => void;
  #pmcw: Pmcw;
  #scsw: Scsw = idle;
  #mba = 0n;
  /** Sense data that go with the status that is pending. */
  #sense: Uint8Array | undefined;
  #running = false;
  /** The device has something to tell, as soon as nothing else is pending. */
  #attention = false;
  #suspended: ProgramStart | undefined;

  constructor(guest: GuestAccess, devno: number, chpid: number, unit: SubchannelUnit, interrupt: () => void) {
    this.#guest = guest;
    this.devno = devno;
    this.#unit = unit;
    this.#interrupt = interrupt;
    this.#pmcw = freshPmcw(devno, chpid);
  }

  get enabled(): boolean {
    return (this.#pmcw.flags & pmcwFlag.ENABLED) !== 0;
  }

  /** True while there is status for TEST SUBCHANNEL to take. */
  get pending(): boolean {
    return (this.#scsw.ctrl & PENDING) !== 0;
  }

  get isc(): number {
    return (this.#pmcw.flags & pmcwFlag.ISC) >>> iscShift;
  }

  /** The interruption parameter. */
  get parameter(): number {
    return this.#pmcw.intparm;
  }

  start(orb: Orb): ConditionCode {
    if (!this.enabled) return 3;
    if (this.pending) return 1;
    if (this.#busy) return 2;
    const { ctrl0, ctrl1 } = orb;
    if ((orb.lpm & this.#pmcw.lpm & this.#pmcw.pam) === 0) return 3;
    this.#pmcw = { ...this.#pmcw, intparm: orb.intparm, lpum: onlyPath };
    this.#sense = undefined;
    this.#scsw = { ...idle, flags: ctrl0 & shownOfOrb, ctrl: functionControl.START | START_PENDING };
    this.#run(
      {
        address: orb.cpa,
        format1: (ctrl0 & orbCtrl0.FORMAT1) !== 0,
        idaw64: (ctrl0 & orbCtrl0.IDAW2) !== 0,
        idawBlock: (ctrl0 & orbCtrl0.IDAW2) !== 0 && (ctrl0 & orbCtrl0.IDAW_2K) === 0 ? 4096 : 2048,
        maySuspend: (ctrl0 & orbCtrl0.SUSPEND) !== 0,
        suppressLength: (ctrl1 & orbCtrl1.LENGTH_SUPPRESSION) !== 0,
      },
      false,
    );
    return 0;
  }

  /** RESUME SUBCHANNEL. */
  resume(): ConditionCode {
    if (!this.enabled) return 3;
    if (this.pending) return 1;
    const suspended = this.#suspended;
    if (suspended === undefined) return 2;
    this.#suspended = undefined;
    this.#run(suspended, true);
    return 0;
  }

  /** HALT SUBCHANNEL. */
  halt(): ConditionCode {
    if (!this.enabled) return 3;
    const { ctrl } = this.#scsw;
    if (this.pending && (ctrl & scswCtrlMask.STATUS) !== (PENDING | INTERMEDIATE)) return 1;
    if ((ctrl & (functionControl.HALT | functionControl.CLEAR)) !== 0) return 2;
    const wasSuspended = this.#suspended !== undefined;
    this.#suspended = undefined;
    this.#scsw = {
      ...this.#scsw,
      ctrl: (ctrl & scswCtrlMask.FUNCTION) | functionControl.HALT | PENDING,
      // The signal reaches a device that is at rest, but for one whose program waits here.
      dstat: wasSuspended ? 0 : deviceStatus.DEVICE_END,
      cstat: 0,
    };
    this.#interrupt();
    return 0;
  }

  /** CLEAR SUBCHANNEL. */
  clear(): ConditionCode {
    if (!this.enabled) return 3;
    this.#suspended = undefined;
    this.#sense = undefined;
    this.#scsw = { ...idle, ctrl: functionControl.CLEAR | PENDING };
    this.#pmcw = { ...this.#pmcw, lpum: onlyPath, pnom: 0, pom: 0xff };
    this.#interrupt();
    return 0;
  }

  /** CANCEL SUBCHANNEL: nothing is ever waiting to be started but what is suspended. */
  cancel(): ConditionCode {
    if (!this.enabled) return 3;
    if (this.pending) return 1;
    if (this.#suspended === undefined) return 2;
    this.#suspended = undefined;
    this.#scsw = idle;
    return 0;
  }

  /** TEST SUBCHANNEL: the IRB, and whether status was pending, which is taken then. */
  test(): { readonly cc: ConditionCode; readonly irb: Uint8Array } {
    if (!this.enabled) return { cc: 3, irb: new Uint8Array(0) };
    const now = this.#scsw;
    if (!this.pending) return { cc: 1, irb: shownStatus(now, undefined) };
    const stored = now === attention ? shownAttention : shownStatus(now, this.#sense);
    this.#sense = undefined;
    this.#scsw = afterTest(now);
    if (this.#attention) this.attend();
    return { cc: 0, irb: stored };
  }

  /** STORE SUBCHANNEL: the SCHIB. */
  store(): Uint8Array {
    return schib.encode({ pmcw: this.#pmcw, scsw: this.#scsw, mba: this.#mba });
  }

  /** MODIFY SUBCHANNEL. */
  modify(block: Schib): ConditionCode {
    if (this.pending) return 1;
    if (this.#busy) return 2;
    const given = block.pmcw;
    const before = this.enabled;
    this.#pmcw = {
      ...this.#pmcw,
      intparm: given.intparm,
      flags: (this.#pmcw.flags & ~modifiable) | (given.flags & modifiable),
      lpm: given.lpm,
      mbi: given.mbi,
      pom: given.pom,
      chars: given.chars & modifiableChars,
    };
    this.#mba = block.mba;
    if (this.enabled !== before) this.#unit.enabled(this.enabled);
    return 0;
  }

  /** The device wants the program's attention: status that nobody asked for, unless other status is pending. */
  attend(): void {
    this.#attention = false;
    if (this.pending || !this.enabled) return;
    if (this.#busy) {
      // A program is at work here; its end is not what the device has to tell.
      this.#attention = true;
      return;
    }
    this.#scsw = attention;
    this.#interrupt();
  }

  /** As after a reset of the channel subsystem: disabled, idle. */
  reset(): void {
    this.#pmcw = freshPmcw(this.devno, this.#pmcw.chpid[0] ?? 0);
    this.#scsw = idle;
    this.#mba = 0n;
    this.#sense = undefined;
    this.#attention = false;
    this.#suspended = undefined;
  }

  save(): SubchannelState {
    const { intparm, flags, lpm, mbi, pom, lpum, chars } = this.#pmcw;
    return {
      ...{ intparm, flags, lpm, mbi, pom, lpum, chars },
      mba: this.#mba.toString(),
      scsw: this.#scsw,
      sense: this.#sense === undefined ? null : Array.from(this.#sense),
      attention: this.#attention,
      suspended: this.#suspended ?? null,
    };
  }

  restore(state: SubchannelState): void {
    const { intparm, flags, lpm, mbi, pom, lpum, chars } = state;
    this.#pmcw = { ...this.#pmcw, ...{ intparm, flags, lpm, mbi, pom, lpum, chars } };
    this.#mba = BigInt(state.mba);
    this.#scsw = state.scsw;
    this.#attention = state.attention;
    this.#suspended = state.suspended ?? undefined;
    this.#sense = state.sense === null ? undefined : Uint8Array.from(state.sense);
  }

  /** Makes the interruption pending again, after a restore. */
  interruptAgain(): void {
    if (this.pending) this.#interrupt();
  }

  get #busy(): boolean {
    return this.#running || (this.#scsw.ctrl & scswCtrlMask.FUNCTION) !== 0;
  }

  #run(start: ProgramStart, resumed: boolean): void {
    this.#running = true;
    const end = new ChannelProgram(this.#guest, this.#unit, start).run(resumed);
    this.#running = false;
    if (end.resumeAt === undefined) this.#conclude(end);
    else this.#suspend({ ...start, address: end.resumeAt }, end);
  }

  #conclude(end: ProgramEnd): void {
    const unitCheck = (end.dstat & deviceStatus.UNIT_CHECK) !== 0;
    if (unitCheck && (this.#pmcw.chars & pmcwChars.CONCURRENT_SENSE) !== 0) {
      this.#sense = this.#unit.takeSense();
    }
    const alert = (end.cstat & ~harmless) !== 0 || (end.dstat & ~ended) !== 0 ? ALERT : 0;
    const intermediate = (end.cstat & harmless) !== 0 ? INTERMEDIATE : 0;
    const ctrl = functionControl.START | PRIMARY | SECONDARY | PENDING | alert | intermediate;
    const { dstat, cstat, cpa, count } = end;
    this.#scsw = { flags: this.#scsw.flags, ctrl, dstat, cstat, cpa, count };
    this.#interrupt();
  }

  #suspend(at: ProgramStart, end: ProgramEnd): void {
    this.#suspended = at;
    const { cstat, cpa, count } = end;
    const silent = (this.#scsw.flags & scswFlag.SUPPRESS_SUSPENDED) !== 0 && cstat === 0;
    const tells = silent ? 0 : INTERMEDIATE | PENDING;
    const ctrl = functionControl.START | SUSPENDED | tells;
    this.#scsw = { flags: this.#scsw.flags, ctrl, dstat: 0, cstat, cpa, count };
    if (!silent) this.#interrupt();
  }
}

/** An IRB, of which extended status is worth showing while status is pending. */
function shownStatus(now: Scsw, sense: Uint8Array | undefined): Uint8Array {
  const bytes = new Uint8Array(irbLength);
  const view = new DataView(bytes.buffer);
  irb.field.scsw.set(view, 0, now);
  if ((now.ctrl & PENDING) !== 0) view.setUint32(irb.field.esw.offset, onlyPath * 2 ** 16);
  if (sense === undefined) return bytes;
  const extended = scswFlag.EXTENDED_STATUS | scswFlag.EXTENDED_CONTROL;
  scsw.field.flags.set(view, irb.field.scsw.offset, now.flags | extended);
  view.setUint32(irb.field.esw.offset + 4, concurrentSense);
  irb.field.ecw.set(view, 0, sense);
  return bytes;
}

/** What a device that wants attention shows: the same for every notification of its. */
const attention: Scsw = { ...idle, ctrl: ALERT | PENDING };
const shownAttention: Uint8Array = shownStatus(attention, undefined);

/** What is left of a status that was taken: a program that is only suspended goes on being so. */
function afterTest(taken: Scsw): Scsw {
  const told = taken.ctrl & scswCtrlMask.STATUS;
  if (told !== (INTERMEDIATE | PENDING)) return { ...taken, ctrl: 0, dstat: 0, cstat: 0 };
  const ctrl = taken.ctrl & ~scswCtrlMask.STATUS & ~RESUME_PENDING;
  return { ...taken, ctrl, dstat: 0, cstat: 0 };
}

function freshPmcw(devno: number, chpid: number): Pmcw {
  return {
    intparm: 0,
    flags: pmcwFlag.DEVICE_NUMBER_VALID,
    devno,
    lpm: onlyPath,
    pnom: 0,
    lpum: 0,
    pim: onlyPath,
    mbi: 0,
    pom: 0xff,
    pam: onlyPath,
    chpid: Uint8Array.of(chpid),
    chars: 0,
  };
}
