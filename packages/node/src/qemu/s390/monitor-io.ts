import { HostError, UsageError } from 'virtio/errors';
import {
  type Allocator,
  exchangeByte,
  type GuestMemory,
  loadAcquire32,
  OrderedView,
  type Region,
  storeRelease32,
} from 'virtio/memory';
import type { ChannelIo, ChannelIoListener } from 'virtio/transports/ccw';
import {
  adapterBit,
  type InstructionName,
  instructionNumber,
  interruption,
  iscOf,
  mailbox,
  notifySubcode,
  programInterruption,
  request,
} from './mailbox.ts';

/** An instruction that is to be executed, and who waits for its end. */
interface Request {
  readonly instruction: InstructionName;
  /** General registers 1 to 4. */
  readonly registers: readonly bigint[];
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

interface Answer {
  readonly conditionCode: number;
  readonly register2: bigint;
}

/** The I/O instructions of a machine whose processor runs the monitor. */
export class MonitorIo implements ChannelIo {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;

  readonly #region: Region;
  readonly #box: OrderedView;
  readonly #wake: () => void;
  readonly #listeners = new Set<ChannelIoListener>();
  /** Those that found no room in the ring, in order. */
  readonly #waiting: Request[] = [];
  /** Those in the ring, in order. */
  readonly #underWay: Request[] = [];
  #requested = 0;
  #done = 0;
  #taken = 0;
  #gone: Error | undefined;

  /**
   * @param wake has the processor take a restart interruption; it is called when the monitor sleeps
   */
  constructor(memory: GuestMemory, allocator: Allocator, wake: () => void) {
    this.memory = memory;
    this.allocator = allocator;
    const start = mailbox.requested;
    const region = memory.find(start, mailbox.end - start);
    if (region === undefined) throw new UsageError('BAD_ARGUMENT', 'there is no memory for the mailbox');
    this.#region = region;
    this.#box = new OrderedView(region, start - region.start, mailbox.end - start, 'big');
    this.#wake = wake;
  }

  startSubchannel(schid: number, orb: number): Promise<number> {
    return this.#execute('START_SUBCHANNEL', schid, orb);
  }

  testSubchannel(schid: number, irb: number): Promise<number> {
    return this.#execute('TEST_SUBCHANNEL', schid, irb);
  }

  storeSubchannel(schid: number, schib: number): Promise<number> {
    return this.#execute('STORE_SUBCHANNEL', schid, schib);
  }

  modifySubchannel(schid: number, schib: number): Promise<number> {
    return this.#execute('MODIFY_SUBCHANNEL', schid, schib);
  }

  haltSubchannel(schid: number): Promise<number> {
    return this.#execute('HALT_SUBCHANNEL', schid);
  }

  clearSubchannel(schid: number): Promise<number> {
    return this.#execute('CLEAR_SUBCHANNEL', schid);
  }

  async notify(schid: number, data: number, cookie: bigint): Promise<bigint> {
    const registers = [BigInt(notifySubcode), BigInt(schid), BigInt(data), cookie];
    return (await this.#request('DIAGNOSE_500', registers)).register2;
  }

  listen(listener: ChannelIoListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Takes what the monitor has put into the mailbox: it has rung the bell. */
  collect(): void {
    const done = loadAcquire32(this.#box, at(mailbox.done));
    if (distance(this.#done, done) > this.#underWay.length) {
      this.#broken();
      return;
    }
    while (this.#done !== done) {
      const from = entryOf(mailbox.requests, request, this.#done);
      this.#done = next(this.#done);
      this.#underWay.shift()?.resolve({
        conditionCode: this.#box.view.getUint32(from + request.end),
        register2: this.#box.view.getBigInt64(from + request.register2),
      });
    }
    this.#send();
    this.#takeInterruptions();
  }

  /** Nothing is answered any more. */
  fail(error: Error): void {
    if (this.#gone !== undefined) return;
    this.#gone = error;
    for (const { reject } of [...this.#underWay.splice(0), ...this.#waiting.splice(0)]) reject(error);
    for (const listener of this.#listeners) listener.gone?.(error);
  }

  async #execute(what: InstructionName, schid: number, operand = 0): Promise<number> {
    const { conditionCode } = await this.#request(what, [BigInt(schid), BigInt(operand)]);
    if (conditionCode <= 3) return conditionCode;
    const code = (conditionCode - programInterruption).toString(16);
    throw new UsageError('BAD_ARGUMENT', `the instruction ends with program interruption 0x${code}`);
  }

  #request(what: InstructionName, registers: readonly bigint[]): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== undefined) return reject(this.#gone);
      this.#waiting.push({ instruction: what, registers, resolve, reject });
      this.#send();
    });
  }

  /** Puts into the ring what there is room for. */
  #send(): void {
    const { view } = this.#box;
    let sent = false;
    while (this.#underWay.length < request.count) {
      const one = this.#waiting.shift();
      if (one === undefined) break;
      const to = entryOf(mailbox.requests, request, this.#requested);
      view.setUint32(to + request.instruction, instructionNumber(one.instruction));
      for (let index = 0; index < 4; index++)
        view.setBigInt64(to + request.registers + 8 * index, one.registers[index] ?? 0n);
      this.#underWay.push(one);
      this.#requested = next(this.#requested);
      sent = true;
    }
    if (!sent) return;
    storeRelease32(this.#box, at(mailbox.requested), this.#requested);
    // One that is on its way will come behind this request.
    if (this.#takeByte(mailbox.asleep) && this.#takeByte(mailbox.woken)) this.#wake();
  }

  /** Makes a byte 0; true when it was not. */
  #takeByte(address: number): boolean {
    return exchangeByte(this.#region, address - this.#region.start, 0) !== 0;
  }

  #takeInterruptions(): void {
    const reported = loadAcquire32(this.#box, at(mailbox.reported));
    if (distance(this.#taken, reported) > interruption.count) {
      this.#broken();
      return;
    }
    while (this.#taken !== reported) {
      const from = entryOf(mailbox.interruptions, interruption, this.#taken);
      const schid = this.#box.view.getUint32(from + interruption.schid);
      const parameter = this.#box.view.getUint32(from + interruption.parameter);
      const identification = this.#box.view.getUint32(from + interruption.identification);
      this.#taken = next(this.#taken);
      storeRelease32(this.#box, at(mailbox.taken), this.#taken);
      const isAdapter = (identification & adapterBit) !== 0;
      for (const listener of this.#listeners) {
        if (isAdapter) listener.adapter(iscOf(identification));
        else listener.subchannel(schid, parameter);
      }
    }
  }

  #broken(): void {
    this.fail(
      new HostError('DEVICE_GONE', 'the monitor in the machine has lost count: its memory was overwritten'),
    );
  }
}

/** Offset in the view of the mailbox. */
const at = (address: number): number => address - mailbox.requested;

const entryOf = (
  start: number,
  ring: { readonly count: number; readonly length: number },
  n: number,
): number => at(start) + (n % ring.count) * ring.length;

const next = (counter: number): number => (counter + 1) >>> 0;

const distance = (from: number, to: number): number => (to - from) >>> 0;
