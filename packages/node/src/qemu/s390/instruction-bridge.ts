import { HostError } from 'virtio/errors';
import type { GuestMemory } from 'virtio/memory';
import { ChannelSubsystem, type InstructionEnd, irbLength, orbLength, schib } from 'virtio/transports/ccw';
import { findIoSites, type IoOperation, type IoSite } from './io-sites.ts';
import { afterInstruction, assigned, instructionLength, pswMask } from './lowcore.ts';
import { notifySubcode } from './mailbox.ts';
import { interruptionCode, PendingInterruptions } from './pending.ts';
import type { Piece, Processor, ProcessorState } from './processor.ts';

/** Milliseconds until a processor that was not ready for an interruption is asked again: at first, and at most. */
const patience = { first: 1, most: 8 } as const;

/**
 * Operands of instructions are copied to here, behind all of a machine's memory: they may lie in several pieces. A program
 * that names this place for data of its own reaches bytes that mean nothing.
 */
const operandPlace = 2 ** 44;
const operandRoom = 4096;

/** What an instruction reads and writes of its operand, in bytes. */
const operandLength: Partial<Readonly<Record<IoOperation, number>>> = {
  SSCH: orbLength,
  MSCH: schib.size,
  STSCH: schib.size,
  TSCH: irbLength,
};

const lastCondition = 3;
/** Addressing: what a program interruption says when an operand is nowhere. */
const addressing = 5;

export interface BridgeOptions {
  readonly memory: GuestMemory;
  readonly processor: Processor;
  /** Has the processor take a restart interruption. Rejects with a HostError. */
  readonly restart: () => Promise<void>;
  /** The first subchannel number that is ours; those below are the machine's own. */
  readonly firstSubchannel: number;
}

/**
 * Carries the I/O instructions of a program that runs on a machine's processor to a channel subsystem of ours: the
 * processor stops at each, and what is for a subchannel of the machine's own it then executes itself.
 *
 * For an interruption, the processor is made to take a restart interruption, which comes whatever it does, waiting
 * included. It stops at the first instruction of that, and the PSW that the restart put aside tells whether it was ready for
 * I/O. Then it goes on where an I/O interruption leads, or else where it was.
 */
export class InstructionBridge {
  readonly subsystem: ChannelSubsystem;
  readonly #processor: Processor;
  readonly #memory: GuestMemory;
  readonly #restart: () => Promise<void>;
  readonly #first: number;
  readonly #pending: PendingInterruptions;
  #sites: ReadonlyMap<number, IoSite> = new Map();
  /** Where a restart interruption leads: a breakpoint is there. */
  #bell: bigint | undefined;
  /** A restart interruption is on its way. */
  #rung = false;
  #patience: number = patience.first;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ memory, processor, restart, firstSubchannel }: BridgeOptions) {
    this.#processor = processor;
    this.#memory = memory;
    this.#restart = restart;
    this.#first = firstSubchannel;
    memory.addRegion(operandPlace, { buffer: new ArrayBuffer(operandRoom) });
    this.#pending = new PendingInterruptions((schid) => this.subsystem.isPending(schid));
    this.subsystem = new ChannelSubsystem({
      memory,
      interrupt: (interruption) => {
        this.#pending.subchannel(interruption);
        this.#ring();
      },
      adapterInterrupt: (isc) => {
        this.#pending.adapter(isc);
        this.#ring();
      },
    });
  }

  /** Looks for the I/O instructions of the program that lies in memory now. Answers how many there are. */
  async watch(start: number, end: number): Promise<number> {
    const program = new DataView(this.#memory.read(start, end - start).buffer);
    this.#sites = findIoSites(program, start);
    for (const address of this.#sites.keys()) await this.#processor.gdb.insertBreakpoint(address);
    return this.#sites.size;
  }

  /** Lets the program run, for ever. Rejects with HostError DEVICE_GONE when the machine is gone. */
  async run(): Promise<never> {
    try {
      for (;;) {
        await this.#processor.gdb.resume();
        await this.#stopped();
      }
    } finally {
      clearTimeout(this.#timer);
      this.#rung = true;
    }
  }

  async #stopped(): Promise<void> {
    const state = await this.#processor.state();
    if (state.address === this.#bell) return this.#answerBell();
    const site = this.#sites.get(Number(state.address));
    if (site === undefined) {
      const where = state.address.toString(16);
      throw new HostError('DEVICE_GONE', `the processor stopped at 0x${where}, where nobody asked it to`);
    }
    await this.#placeBell();
    if (!(await this.#carryOut(site, state))) await this.#processor.gdb.step();
  }

  /** False when the instruction is the machine's own affair. */
  async #carryOut(site: IoSite, state: ProcessorState): Promise<boolean> {
    const { operation } = site;
    if (operation === 'TPI') return this.#testPending(site, state);
    if (operation === 'DIAGNOSE_500') return this.#notify(state);
    const schid = low(state.general[1]);
    if (schid >>> 16 !== 1 || (schid & 0xffff) < this.#first) return false;
    const end = await this.#execute(operation, schid, site, state);
    if (end > lastCondition) await this.#interruptProgram(state, end);
    else await this.#processor.setPsw(afterInstruction(state, end));
    return true;
  }

  async #execute(
    operation: Exclude<IoOperation, 'TPI' | 'DIAGNOSE_500'>,
    schid: number,
    site: IoSite,
    state: ProcessorState,
  ): Promise<InstructionEnd> {
    const css = this.subsystem;
    const length = operandLength[operation] ?? 0;
    const pieces = length === 0 ? [] : await this.#operand(site, state, length);
    if (pieces === undefined) return addressing;
    this.#gather(pieces);
    const at = operandPlace;
    switch (operation) {
      case 'SSCH':
        return css.startSubchannel(schid, at);
      case 'MSCH':
        return css.modifySubchannel(schid, at);
      case 'STSCH':
        return this.#scatter(pieces, css.storeSubchannel(schid, at));
      case 'TSCH':
        return this.#scatter(pieces, css.testSubchannel(schid, at));
      case 'HSCH':
        return css.haltSubchannel(schid);
      case 'CSCH':
        return css.clearSubchannel(schid);
      case 'RSCH':
        return css.resumeSubchannel(schid);
      case 'XSCH':
        return css.cancelSubchannel(schid);
    }
  }

  async #notify(state: ProcessorState): Promise<boolean> {
    const { general } = state;
    const schid = low(general[2]);
    if (low(general[1]) !== notifySubcode || schid >>> 16 !== 1 || (schid & 0xffff) < this.#first)
      return false;
    const answer = this.subsystem.notify(general[2] ?? 0n, general[3] ?? 0n, general[4] ?? 0n);
    await this.#processor.setGeneral(2, answer);
    await this.#processor.setPsw({ ...state, address: state.address + instructionLength });
    return true;
  }

  async #testPending(site: IoSite, state: ProcessorState): Promise<boolean> {
    const taken = this.#pending.take(await this.#allowed());
    if (taken === undefined) return false;
    const code = interruptionCode(taken);
    if (addressOf(site, state) === 0n) (await this.#processor.lowcore()).set(assigned.IO_CODE, code);
    else {
      const pieces = await this.#operand(site, state, 8);
      if (pieces !== undefined) this.#put(pieces, code);
    }
    await this.#processor.setPsw(afterInstruction(state, 1));
    return true;
  }

  async #interruptProgram(state: ProcessorState, code: number): Promise<void> {
    const lowcore = await this.#processor.lowcore();
    const view = new DataView(new ArrayBuffer(4));
    view.setUint16(0, Number(instructionLength));
    view.setUint16(2, code);
    lowcore.set(assigned.PROGRAM_CODE, new Uint8Array(view.buffer));
    lowcore.setPsw(assigned.PROGRAM_OLD, { ...state, address: state.address + instructionLength });
    await this.#processor.setPsw(lowcore.psw(assigned.PROGRAM_NEW));
  }

  /** Has a breakpoint where a restart interruption leads, which the program decides. */
  async #placeBell(): Promise<void> {
    const { address } = (await this.#processor.lowcore()).psw(assigned.RESTART_NEW);
    if (address !== this.#bell) {
      if (this.#bell !== undefined) await this.#processor.gdb.removeBreakpoint(Number(this.#bell));
      await this.#processor.gdb.insertBreakpoint(Number(address));
      this.#bell = address;
    }
  }

  #ring(): void {
    if (this.#rung || !this.#pending.any) return;
    this.#rung = true;
    clearTimeout(this.#timer);
    this.#restart().catch((error: HostError) => void this.#processor.gdb.fail(error));
  }

  /** A restart interruption was taken: turns it into an I/O interruption if the program is ready for one. */
  async #answerBell(): Promise<void> {
    const lowcore = await this.#processor.lowcore();
    const before = lowcore.psw(assigned.RESTART_OLD);
    const ready = (before.mask & pswMask.IO) !== 0n;
    const taken = ready ? this.#pending.take(await this.#allowed()) : undefined;
    if (taken === undefined) {
      this.#patience = Math.min(2 * this.#patience, patience.most);
      await this.#processor.setPsw(before);
    } else {
      this.#patience = patience.first;
      lowcore.set(assigned.IO_CODE, interruptionCode(taken));
      lowcore.setPsw(assigned.IO_OLD, before);
      await this.#processor.setPsw(lowcore.psw(assigned.IO_NEW));
    }
    this.#rung = false;
    if (this.#pending.any) this.#timer = setTimeout(() => this.#ring(), this.#patience);
  }

  /** The subclasses that the program takes interruptions of: a byte. */
  async #allowed(): Promise<number> {
    return Number(((await this.#processor.control(6)) >> 24n) & 0xffn);
  }

  #operand(site: IoSite, state: ProcessorState, length: number): Promise<Piece[] | undefined> {
    return this.#processor.locate(state, addressOf(site, state), length);
  }

  #gather(pieces: readonly Piece[]): void {
    let at = operandPlace;
    for (const { address, length } of pieces) {
      this.#memory.write(at, this.#memory.read(address, length));
      at += length;
    }
  }

  #scatter(pieces: readonly Piece[], end: InstructionEnd): InstructionEnd {
    if (end < lastCondition) this.#put(pieces, this.#memory.read(operandPlace, operandRoom));
    return end;
  }

  #put(pieces: readonly Piece[], bytes: Uint8Array): void {
    let from = 0;
    for (const { address, length } of pieces) {
      this.#memory.write(address, bytes.subarray(from, from + length));
      from += length;
    }
  }
}

const low = (register: bigint | undefined): number => Number((register ?? 0n) & 0xffff_ffffn);

const addressOf = ({ base, displacement }: IoSite, { general }: ProcessorState): bigint =>
  ((base === 0 ? 0n : (general[base] ?? 0n)) + BigInt(displacement)) & 0xffff_ffff_ffff_ffffn;
