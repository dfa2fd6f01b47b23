import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import { closed, Requests } from '../requests.ts';
import { packetOf, takePackets } from './packets.ts';

/** The most that is asked for of a description at a time, in bytes. */
const chunk = 0x800;

/**
 * The remote protocol of a debugger, as QEMU's stub speaks it: one processor, which stands still unless it was told to
 * go on. Requests are answered in order. When QEMU is gone, every request rejects with HostError DEVICE_GONE.
 */
export class GdbRemote {
  readonly #requests: Requests<string>;
  #received = '';

  /**
   * Speaks over a connection that QEMU has made, and that nothing was read from.
   *
   * @param whyClosed asked when QEMU closes it
   */
  constructor(socket: Socket, whyClosed: () => Promise<HostError> = closed) {
    const received = (text: string): void => this.#receive(text);
    this.#requests = new Requests(socket, { encoding: 'latin1', received, whyClosed });
  }

  /**
   * The numbers of the registers by their names, as the stub describes them. The descriptions have to be read before
   * the registers that they are of.
   */
  async registers(): Promise<ReadonlyMap<string, number>> {
    await this.request('qSupported:xmlRegisters=s390');
    const numbers = new Map<string, number>();
    const target = await this.#description('target.xml');
    let next = 0;
    for (const [, file = ''] of target.matchAll(/<xi:include\s+href="([\w.-]+)"/g)) {
      const feature = await this.#description(file);
      for (const [element] of feature.matchAll(/<reg\s[^>]*>/g)) {
        const name = /\sname="([^"]*)"/.exec(element)?.[1] ?? '';
        next = Number(/\sregnum="(\d+)"/.exec(element)?.[1] ?? next);
        numbers.set(name, next++);
      }
    }
    return numbers;
  }

  /** Registers in the order of their numbers from 0 on, 64 bits each: those that the stub has in its first feature. */
  async readRegisters(): Promise<bigint[]> {
    const text = await this.request('g');
    return (text.match(/.{16}/g) ?? []).map((one) => this.#register(one));
  }

  /** A register of 64 bits. */
  async readRegister(number: number): Promise<bigint> {
    return this.#register(await this.request(`p${number.toString(16)}`));
  }

  async writeRegister(number: number, value: bigint): Promise<void> {
    const digits = BigInt.asUintN(64, value).toString(16).padStart(16, '0');
    await this.#do(`P${number.toString(16)}=${digits}`);
  }

  /** Has the processor stop before it executes what is at a virtual address. */
  async insertBreakpoint(address: number): Promise<void> {
    await this.#do(`Z0,${address.toString(16)},2`);
  }

  async removeBreakpoint(address: number): Promise<void> {
    await this.#do(`z0,${address.toString(16)},2`);
  }

  /** Lets the processor go on, and settles when it has stopped. */
  resume(): Promise<void> {
    return this.#go('c');
  }

  /** Executes one instruction, at a breakpoint too. No interruption comes meanwhile. */
  step(): Promise<void> {
    return this.#go('s');
  }

  /** Sends a request, and answers what the stub does. */
  request(text: string): Promise<string> {
    return this.#requests.send(packetOf(text));
  }

  /** Ends everything that is under way with an error, the first that is given. Answers that one. */
  fail(error: HostError): HostError {
    return this.#requests.fail(error);
  }

  async #do(text: string): Promise<void> {
    const answer = await this.request(text);
    if (answer !== 'OK')
      throw new HostError('IO_ERROR', `QEMU's debugger stub answered "${answer}" to ${text}`);
  }

  async #go(how: string): Promise<void> {
    const why = await this.request(how);
    if (!/^[TS]/.test(why))
      throw this.#requests.misbehaved(`the processor has not stopped, but ended (${why})`);
  }

  async #description(file: string): Promise<string> {
    let whole = '';
    for (;;) {
      const part = await this.request(
        `qXfer:features:read:${file}:${whole.length.toString(16)},${chunk.toString(16)}`,
      );
      if (!/^[lm]/.test(part)) throw this.#requests.misbehaved(`QEMU's debugger stub has no ${file}`);
      whole += part.slice(1);
      if (part.startsWith('l')) return whole;
    }
  }

  #register(digits: string): bigint {
    if (!/^[0-9a-f]{16}$/.test(digits))
      throw this.#requests.misbehaved(`"${digits}" is no register of 64 bits`);
    return BigInt(`0x${digits}`);
  }

  #receive(text: string): void {
    const taken = takePackets(this.#received + text);
    if (taken === undefined) {
      this.#requests.misbehaved("QEMU's debugger stub sent what is no packet");
      return;
    }
    this.#received = taken.rest;
    for (const packet of taken.packets) {
      this.#requests.say('+');
      if (!this.#requests.answer(packet))
        this.#requests.misbehaved(`QEMU's debugger stub said "${packet}" without being asked`);
    }
  }
}
