import { ccw0, ccw1, ccwFlag } from './ccw.ts';
import { type AddressRules, ChannelData, type FetchedCcw } from './channel-data.ts';
import { basicCommand } from './commands.ts';
import type { GuestAccess } from './guest-access.ts';
import { deviceStatus, subchannelStatus } from './status.ts';

/** How a device ends a command. */
export type CommandEnd =
  /** It is done, with the data it has used. */
  | 'done'
  /** It is done, and never wanted data. */
  | 'immediate'
  /** The program gives less data than the command needs; nothing was done. */
  | 'short'
  /** Unit check, with command reject. */
  | 'reject';

/** A device on a subchannel, as its channel programs find it. */
export interface CommandUnit {
  /** Carries a command out. It must not throw. */
  execute(code: number, data: ChannelData): CommandEnd;
  /** The command is not one that it could carry out: the program gives too few bytes. Sense data tell so. */
  refuse(): void;
}

/** What a channel program is started with. */
export interface ProgramStart extends AddressRules {
  /** Where its first CCW is. */
  readonly address: number;
  /** CCWs may suspend it. */
  readonly maySuspend: boolean;
  /** An immediate command of format 1 shows no incorrect length. */
  readonly suppressLength: boolean;
}

/** How a channel program ended, or where it waits. */
export interface ProgramEnd {
  /** Device status and subchannel status, as an SCSW has them. */
  readonly dstat: number;
  readonly cstat: number;
  /** The bytes that the last CCW has left. */
  readonly count: number;
  /** 8 behind the last CCW that was used. */
  readonly cpa: number;
  /** Suspended: where it goes on. */
  readonly resumeAt?: number;
}

/** CCWs that a program may have: far more than any needs, and few enough for one that runs in a circle. */
const mostCcws = 4096;

const ended = deviceStatus.CHANNEL_END | deviceStatus.DEVICE_END;
const { PROGRAM_CHECK, INCORRECT_LENGTH, PROGRAM_CONTROLLED_INTERRUPTION } = subchannelStatus;
/** Flags that ask for what is to be had nowhere here. */
const unsupported = ccwFlag.MIDA;

/**
 * Runs channel programs: fetches CCWs of either format, follows transfers and chains, and shows what it meets as
 * device and subchannel status. Nothing in guest memory makes it throw or run for ever.
 */
export class ChannelProgram {
  readonly #guest: GuestAccess;
  readonly #unit: CommandUnit;
  readonly #start: ProgramStart;
  #next: number;
  #left = mostCcws;
  #first = true;
  #cstat = 0;
  #cpa = 0;
  /** The residual count when no command has begun. */
  #count = 0;

  constructor(guest: GuestAccess, unit: CommandUnit, start: ProgramStart) {
    this.#guest = guest;
    this.#unit = unit;
    this.#start = start;
    this.#next = start.address;
  }

  /** Runs until it ends or suspends. `resumed` lets the first CCW suspend no more. */
  run(resumed = false): ProgramEnd {
    for (let passSuspend = resumed; ; passSuspend = false) {
      const ccw = this.#fetch(undefined);
      if (typeof ccw === 'number') return this.#end(0, ccw);
      if ((ccw.flags & ccwFlag.SUSPEND) !== 0 && !passSuspend) {
        if (!this.#start.maySuspend) return this.#end(0, PROGRAM_CHECK);
        this.#count = 0;
        return { ...this.#end(0, 0), resumeAt: ccw.address };
      }
      const end = this.#command(ccw);
      if (end !== undefined) return end;
    }
  }

  /** Has the device carry one command out; `undefined` when another follows. */
  #command(first: FetchedCcw): ProgramEnd | undefined {
    const next = (chained: FetchedCcw): FetchedCcw | number => this.#fetch(chained);
    const data = new ChannelData(this.#guest, this.#start, first, next);
    const end = this.#unit.execute(first.code, data);
    const { flags } = data.current;
    this.#count = data.residual;
    if (data.check !== 0) return this.#end(0, data.check);
    if (end === 'reject') return this.#end(ended | deviceStatus.UNIT_CHECK, 0);
    const suppressed = (flags & (ccwFlag.SLI | ccwFlag.CD)) === ccwFlag.SLI;
    if (end === 'short') {
      if (!suppressed) return this.#end(ended, INCORRECT_LENGTH);
      this.#unit.refuse();
      return this.#end(ended | deviceStatus.UNIT_CHECK, 0);
    }
    const noLength = end === 'immediate' && (!this.#start.format1 || this.#start.suppressLength);
    const chainsData = (flags & ccwFlag.CD) !== 0;
    if (data.left && !suppressed && !(noLength && !chainsData)) return this.#end(ended, INCORRECT_LENGTH);
    return (flags & ccwFlag.CC) === 0 ? this.#end(ended, 0) : undefined;
  }

  /**
   * The next CCW, past a transfer in channel; or the subchannel status when there is none to be had. In data chaining
   * it goes on with the command of another.
   */
  #fetch(chained: FetchedCcw | undefined): FetchedCcw | number {
    const word = this.#fetchWord();
    if (typeof word === 'number') return word;
    if (!isTransfer(word.code)) return this.#checked(word, chained);
    if (this.#first || !this.#isSoundTransfer(word)) return PROGRAM_CHECK;
    this.#next = word.cda;
    const target = this.#fetchWord();
    if (typeof target === 'number') return target;
    return isTransfer(target.code) ? PROGRAM_CHECK : this.#checked(target, chained);
  }

  #fetchWord(): FetchedCcw | number {
    const { format1 } = this.#start;
    const address = this.#next;
    this.#cpa = (address + 8) % 2 ** 31;
    const view =
      address % 8 === 0 && address < (format1 ? 2 ** 31 : 2 ** 24)
        ? this.#guest.read(address, ccw1.size)
        : undefined;
    // Whoever lets a program run in a circle may wait for ever; nobody else shall.
    if (view === undefined || this.#left-- === 0) return PROGRAM_CHECK;
    this.#next = address + 8;
    return format1 ? fetched1(address, view) : fetched0(address, view);
  }

  /** @returns the CCW, as it is allowed to be. */
  #checked(word: FetchedCcw, chained: FetchedCcw | undefined): FetchedCcw | number {
    const { format1 } = this.#start;
    const chainsData = chained !== undefined || (word.flags & ccwFlag.CD) !== 0;
    if (chained === undefined && (word.code & 0x0f) === 0) return PROGRAM_CHECK;
    if (word.count === 0 && (!format1 || chainsData)) return PROGRAM_CHECK;
    if ((word.flags & unsupported) !== 0 || word.cda >= 2 ** 31) return PROGRAM_CHECK;
    this.#first = false;
    if ((word.flags & ccwFlag.PCI) !== 0) this.#cstat |= PROGRAM_CONTROLLED_INTERRUPTION;
    return word;
  }

  #isSoundTransfer(word: FetchedCcw): boolean {
    // In format 0 all but the address is ignored.
    if (!this.#start.format1) return true;
    return word.code === basicCommand.TIC && word.flags === 0 && word.count === 0 && word.cda < 2 ** 31;
  }

  #end(dstat: number, cstat: number): ProgramEnd {
    return { dstat, cstat: this.#cstat | cstat, count: this.#count, cpa: this.#cpa };
  }
}

const isTransfer = (code: number): boolean => (code & 0x0f) === basicCommand.TIC;

function fetched0(address: number, view: DataView): FetchedCcw {
  const { cmd_code, cda_high, cda_low, flags, count } = ccw0.read(view);
  return { address, code: cmd_code, flags, count, cda: cda_high * 2 ** 16 + cda_low };
}

function fetched1(address: number, view: DataView): FetchedCcw {
  const { cmd_code, flags, count, cda } = ccw1.read(view);
  return { address, code: cmd_code, flags, count, cda };
}
