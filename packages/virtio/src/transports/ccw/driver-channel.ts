import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { StructValue } from '../../spec/layout.ts';
import { ccw1, ccwFlag, orb, orbCtrl0 } from './ccw.ts';
import type { ChannelIo } from './channel-io.ts';
import { type ChannelCommandName, channelCommand } from './commands.ts';
import { ControlBlock } from './control-block.ts';
import { iscShift, pmcwChars, pmcwFlag, schib } from './schib.ts';
import {
  bitNames,
  deviceStatus,
  functionControl,
  irb,
  type scsw,
  scswFlag,
  senseBit,
  senseIsThere,
  senseLength,
  statusControl,
  subchannelStatus,
} from './status.ts';

type Scsw = StructValue<(typeof scsw)['codecs']>;

/** What a command carries, and what it is to bring. */
export interface Command {
  /** Bytes that the device reads. */
  readonly data?: Uint8Array;
  /** Bytes of the buffer: those of `data` unless told. */
  readonly length?: number;
  /** A device that moves fewer bytes is in the right. */
  readonly suppressLength?: boolean;
}

/** How a command ended: the buffer as far as the device used it, or the sense data of a unit check. */
type Ended = { readonly bytes: Uint8Array } | { readonly sense: Uint8Array };

/** Hears what happens on the subchannel that is no end of a command. */
export interface ChannelEvents {
  /** Status was taken: indicators may be set. */
  interrupted(): void;
  adapter(isc: number): void;
  lost(error: Error): void;
}

/** How often an instruction is tried again that other status stands in the way of. */
const instructionTries = 64;

const { CHANNEL_END, DEVICE_END, UNIT_CHECK } = deviceStatus;

/**
 * The driver's end of one subchannel: runs channel commands one after the other, takes every status, and looks at all
 * of it. A command that the device ends otherwise than it should is a PeerError that says how.
 */
export class DriverChannel {
  /** What SET_VIRTIO_REV was taken with: it is for the device to forget while the subchannel is disabled. */
  revision: Uint8Array | undefined;

  readonly #io: ChannelIo;
  readonly #schid: number;
  readonly #isc: number;
  readonly #events: ChannelEvents;
  #block: ControlBlock;
  #stop: () => void = () => {};
  #last: Promise<unknown> = Promise.resolve();
  #tests: Promise<unknown> = Promise.resolve();
  /** The command that runs: takes the status that ends it. */
  #waiting: { take(status: TakenStatus): void; fail(error: Error): void } | undefined;
  #gone: Error | undefined;
  #closed = true;

  private constructor(io: ChannelIo, schid: number, isc: number, events: ChannelEvents) {
    this.#io = io;
    this.#schid = schid;
    this.#isc = isc;
    this.#events = events;
    this.#block = new ControlBlock(io);
    this.#block.free();
  }

  /** Where instructions find their operands, while it is open. */
  get block(): ControlBlock {
    return this.#block;
  }

  /**
   * Enables a subchannel, its interruptions of subclass `isc`.
   *
   * @throws {HostError} DEVICE_GONE when there is no device.
   * @throws {PeerError} COMMAND_FAILED when the subchannel does not come to rest.
   */
  static async open(
    io: ChannelIo,
    schid: number,
    isc: number,
    events: ChannelEvents,
  ): Promise<DriverChannel> {
    const channel = new DriverChannel(io, schid, isc, events);
    await channel.#open();
    return channel;
  }

  /**
   * Runs a command; gives the buffer as far as the device used it.
   *
   * @throws {PeerError} COMMAND_FAILED when the device rejects it, or ends it otherwise.
   */
  async issue(name: ChannelCommandName, command: Command = {}): Promise<Uint8Array> {
    const bytes = await this.tryIssue(name, command);
    if (bytes === undefined) throw failed(name, 'the device rejects it');
    return bytes;
  }

  /** As `issue`; `undefined` when the device answers with command reject. */
  tryIssue(name: ChannelCommandName, command: Command = {}): Promise<Uint8Array | undefined> {
    return this.#inTurn(async () => {
      if (!this.#closed) return await this.#attempt(name, command);
      throw new UsageError('BAD_STATE', `channel command ${name} after the transport was closed`);
    });
  }

  /** As `issue`; `undefined` when it was closed before the command had its turn. */
  ask(name: ChannelCommandName, command: Command): Promise<Uint8Array | undefined> {
    return this.#inTurn(async () => {
      if (this.#closed) return undefined;
      const bytes = await this.#attempt(name, command);
      if (bytes === undefined) throw failed(name, 'the device rejects it');
      return bytes;
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Enables the subchannel again after `close`, at the same revision. */
  async reopen(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#closed) await this.#open();
    });
  }

  /** Disables the subchannel and gives its memory back. What is issued later is refused. */
  async close(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#closed) return;
      try {
        await this.#modify(false);
      } finally {
        this.#release();
      }
    });
  }

  async #attempt(name: ChannelCommandName, command: Command): Promise<Uint8Array | undefined> {
    const end = await this.#run(name, command);
    if ('bytes' in end) return end.bytes;
    const first = end.sense[0] ?? 0;
    if ((first & senseBit.COMMAND_REJECT) !== 0) return undefined;
    throw failed(name, `the device checks, with sense ${bitNames(senseBit, first)}`);
  }

  async #open(): Promise<void> {
    if (this.#gone !== undefined) throw this.#gone;
    this.#block = new ControlBlock(this.#io);
    this.#closed = false;
    this.#stop = this.#io.listen({
      subchannel: (schid) => {
        if (schid === this.#schid) this.#interrupted();
      },
      adapter: (isc) => {
        if (!this.#closed) this.#events.adapter(isc);
      },
      gone: (error) => this.#lost(error),
    });
    try {
      await this.#modify(true);
      if (this.revision !== undefined) await this.#run('SET_VIRTIO_REV', { data: this.revision });
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  #release(): void {
    this.#closed = true;
    this.#stop();
    this.#block.free();
  }

  async #run(name: ChannelCommandName, command: Command): Promise<Ended> {
    const end = await this.#execute(name, command);
    const { status, length, address } = end;
    const { dstat, cstat, count } = status.scsw;
    const bad = cstat & ~subchannelStatus.PROGRAM_CONTROLLED_INTERRUPTION;
    if ((status.scsw.flags & scswFlag.CC) !== 0)
      throw failed(name, 'the path to the device is not operational');
    if (bad !== 0) throw failed(name, `the channel shows ${bitNames(subchannelStatus, bad)}`);
    if ((dstat & UNIT_CHECK) !== 0) return { sense: status.sense ?? (await this.#sense(name)) };
    if ((dstat & ~(CHANNEL_END | DEVICE_END)) !== 0 || (dstat & DEVICE_END) === 0) {
      throw failed(name, `the device ends it with ${bitNames(deviceStatus, dstat)}`);
    }
    const short = command.suppressLength !== true && count !== 0;
    if (count > length || short) throw failed(name, `${count} of its ${length} bytes are left`);
    return { bytes: length === 0 ? new Uint8Array(0) : this.#io.memory.read(address, length - count) };
  }

  /** Asks for sense data that did not come with the status. */
  async #sense(name: ChannelCommandName): Promise<Uint8Array> {
    if (name === 'SENSE') throw failed(name, 'the device checks');
    const end = await this.#run('SENSE', { length: senseLength, suppressLength: true });
    return 'bytes' in end ? end.bytes : end.sense;
  }

  async #execute(
    name: ChannelCommandName,
    command: Command,
  ): Promise<{ status: TakenStatus; length: number; address: number }> {
    if (this.#gone !== undefined) throw this.#gone;
    const { block } = this;
    const { data, suppressLength } = command;
    const length = command.length ?? data?.length ?? 0;
    const address = length === 0 ? 0 : block.dataOf(length);
    if (length > 0) {
      const buffer = new Uint8Array(length);
      if (data !== undefined) buffer.set(data);
      this.#io.memory.write(address, buffer);
    }
    const flags = suppressLength === true ? ccwFlag.SLI : 0;
    block.write('ccw', ccw1.encode({ cmd_code: channelCommand[name], flags, count: length, cda: address }));
    const ctrl0 = orbCtrl0.FORMAT1 | orbCtrl0.PREFETCH;
    block.write('orb', orb.encode({ intparm: this.#schid, ctrl0, lpm: 0xff, cpa: block.at('ccw') }));
    return { status: await this.#start(name), length, address };
  }

  async #start(name: ChannelCommandName): Promise<TakenStatus> {
    const ended = new Promise<TakenStatus>((take, fail) => {
      this.#waiting = { take, fail };
    });
    // Whoever does not come to wait for it has failed already.
    ended.catch(() => {});
    try {
      await this.#clearTheWay(name, () => this.#io.startSubchannel(this.#schid, this.block.at('orb')));
      return await ended;
    } finally {
      this.#waiting = undefined;
    }
  }

  /** Tries an instruction until no status of before is in its way. */
  async #clearTheWay(what: string, instruction: () => Promise<number>): Promise<void> {
    for (let tries = 0; tries < instructionTries; tries++) {
      const cc = await instruction();
      if (cc === 0) return;
      if (cc === 3)
        throw new HostError('DEVICE_GONE', `subchannel 0x${this.#schid.toString(16)} has no device`);
      if (cc === 2) await this.#io.clearSubchannel(this.#schid);
      await this.#test(true);
    }
    throw failed(what, 'the subchannel never comes to rest');
  }

  async #modify(enable: boolean): Promise<void> {
    const at = this.block.at('schib');
    await this.#clearTheWay('MODIFY SUBCHANNEL', async () => {
      if ((await this.#io.storeSubchannel(this.#schid, at)) !== 0) return 3;
      const { pmcw } = schib.read(this.block.view('schib'));
      if ((pmcw.flags & pmcwFlag.DEVICE_NUMBER_VALID) === 0) return 3;
      const others = pmcw.flags & ~(pmcwFlag.ENABLED | pmcwFlag.ISC);
      const set = async (bits: number): Promise<number> => {
        const chars = pmcw.chars | pmcwChars.CONCURRENT_SENSE;
        const changed = { ...pmcw, intparm: this.#schid, flags: others | bits, chars };
        this.block.write('schib', schib.encode({ pmcw: changed }));
        return await this.#io.modifySubchannel(this.#schid, at);
      };
      // Whoever had it before may have set a revision, which lasts until it is disabled.
      const cc = !enable || (pmcw.flags & pmcwFlag.ENABLED) !== 0 ? await set(0) : 0;
      return cc === 0 && enable ? await set(pmcwFlag.ENABLED | (this.#isc << iscShift)) : cc;
    });
  }

  #interrupted(): void {
    if (this.#closed) return;
    this.#test().then(
      () => {
        if (!this.#closed) this.#events.interrupted();
      },
      (error: unknown) => this.#lost(error),
    );
  }

  /** Takes the status that is pending, if any, and gives it to whom it belongs; one of before belongs to nobody. */
  #test(ofBefore = false): Promise<void> {
    const test = this.#tests.then(async () => {
      const cc = await this.#io.testSubchannel(this.#schid, this.block.at('irb'));
      if (cc !== 0 || ofBefore || this.#closed) return;
      // Most interruptions are notifications, and end no command.
      const ctrl = this.block.statusControl;
      if ((ctrl & functionControl.START) === 0 || (ctrl & ~statusControl.PENDING & 0x1f) === 0) return;
      const status = takenStatus(this.block.view('irb'));
      if (endsCommand(status.scsw)) this.#waiting?.take(status);
    });
    this.#tests = test.catch(() => {});
    return test;
  }

  #lost(error: unknown): void {
    const reason = error instanceof Error ? error : new HostError('DEVICE_GONE', String(error));
    this.#gone ??= reason;
    this.#waiting?.fail(reason);
    if (!this.#closed) this.#events.lost(reason);
  }

  #inTurn<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Status that TEST SUBCHANNEL has stored. */
interface TakenStatus {
  readonly scsw: Scsw;
  /** Where sense data came with it. */
  readonly sense: Uint8Array | undefined;
}

function takenStatus(view: DataView): TakenStatus {
  const concurrent = (view.getUint32(irb.field.esw.offset + 4) & senseIsThere) !== 0;
  return { scsw: irb.field.scsw.get(view), sense: concurrent ? irb.field.ecw.get(view) : undefined };
}

/** A device that says channel end has yet to say device end; what goes wrong ends a command at once. */
function endsCommand({ ctrl, dstat, cstat }: Scsw): boolean {
  if ((ctrl & (statusControl.PRIMARY | statusControl.SECONDARY | statusControl.ALERT)) === 0) return false;
  const wrong = cstat & ~subchannelStatus.PROGRAM_CONTROLLED_INTERRUPTION;
  return wrong !== 0 || dstat !== CHANNEL_END;
}

function failed(name: string, how: string): PeerError {
  return new PeerError('COMMAND_FAILED', `channel command ${name}: ${how}`);
}
