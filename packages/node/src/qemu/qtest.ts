import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import { closed, lineTaker, Requests } from './requests.ts';

/** Widths of an access, in bytes. */
export type QtestWidth = 1 | 2 | 4;

/** An interrupt line of the machine was raised or lowered. */
export type InterruptHandler = (line: number, level: boolean) => void;

/** More than the longest reply to what is ever asked: a block as hexadecimal digits. */
const longestLine = 1 << 20;

/** Bytes of a block that are read or written at once. */
const blockLength = 1 << 16;

const letters = { 1: 'b', 2: 'w', 4: 'l' } as const;

/**
 * QEMU's test protocol: accesses to ports and memory as the processor of the machine would make them, and what becomes
 * of its interrupt lines. Requests are sent at once and answered in order, so that many may be under way.
 * When QEMU is gone, every request rejects with HostError DEVICE_GONE.
 */
export class Qtest {
  /** Called for every interrupt line that is watched. */
  onInterrupt: InterruptHandler | undefined;

  readonly #requests: Requests<string>;

  /**
   * Speaks over a connection that QEMU has made, and that nothing was read from.
   *
   * @param whyClosed asked when QEMU closes it
   */
  constructor(socket: Socket, whyClosed: () => Promise<HostError> = closed) {
    const endless = (): void => void this.#requests.misbehaved('QEMU sent a line without end');
    const received = lineTaker(longestLine, (line) => this.#take(line), endless);
    this.#requests = new Requests(socket, { encoding: 'latin1', received, whyClosed });
  }

  /** Reads an I/O port. */
  async in(port: number, width: QtestWidth): Promise<number> {
    return Number(await this.#numberOf(`in${letters[width]} 0x${port.toString(16)}`));
  }

  /** Writes an I/O port. */
  async out(port: number, width: QtestWidth, value: number): Promise<void> {
    await this.request(`out${letters[width]} 0x${port.toString(16)} 0x${value.toString(16)}`);
  }

  /** Reads memory, or a register that is in memory, in one access. */
  async read(address: number, width: QtestWidth): Promise<number> {
    return Number(await this.#numberOf(`read${letters[width]} 0x${address.toString(16)}`));
  }

  /** Writes memory, or a register that is in memory, in one access. */
  async write(address: number, width: QtestWidth, value: number): Promise<void> {
    await this.request(`write${letters[width]} 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  /** Reads eight bytes of memory in one access. */
  read64(address: number): Promise<bigint> {
    return this.#numberOf(`readq 0x${address.toString(16)}`);
  }

  /** Writes eight bytes of memory in one access. */
  async write64(address: number, value: bigint): Promise<void> {
    await this.request(`writeq 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  /** Reads a range of memory. */
  async readBlock(address: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += blockLength) {
      const part = Math.min(blockLength, length - at);
      const [text = ''] = await this.request(`b64read 0x${(address + at).toString(16)} ${part}`);
      const decoded = Buffer.from(text, 'base64');
      if (decoded.length !== part)
        throw this.#requests.misbehaved(`QEMU gave ${decoded.length} bytes for ${part}`);
      bytes.set(decoded, at);
    }
    return bytes;
  }

  /** Writes a range of memory. */
  async writeBlock(address: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += blockLength) {
      const part = Buffer.from(bytes.subarray(at, at + blockLength));
      await this.request(
        `b64write 0x${(address + at).toString(16)} ${part.length} ${part.toString('base64')}`,
      );
    }
  }

  /**
   * Watches the interrupt lines that lead into a device, such as `ioapic`. There can be one such device.
   *
   * @throws {HostError} IO_ERROR when QEMU has none of that name.
   */
  async interceptInterrupts(device: string): Promise<void> {
    await this.request(`irq_intercept_in ${device}`);
  }

  /**
   * Sends a request, at once and before this returns. Answers the words behind `OK`.
   *
   * @throws {HostError} IO_ERROR with QEMU's words when it fails, DEVICE_GONE when QEMU is gone.
   */
  async request(line: string): Promise<readonly string[]> {
    const reply = await this.#requests.send(`${line}\n`);
    const [outcome, ...words] = reply.split(' ');
    if (outcome === 'OK') return words;
    if (outcome === 'FAIL' || outcome === 'ERR') {
      throw new HostError('IO_ERROR', `QEMU cannot do "${short(line)}": ${words.join(' ')}`);
    }
    throw this.#requests.misbehaved(`QEMU answered "${short(reply)}" to "${short(line)}"`);
  }

  /** Ends everything that is under way with an error, the first that is given. Answers that one. */
  fail(error: HostError): HostError {
    return this.#requests.fail(error);
  }

  async #numberOf(line: string): Promise<bigint> {
    const [word = ''] = await this.request(line);
    if (!/^0x[0-9a-f]{1,16}$/i.test(word))
      throw this.#requests.misbehaved(`QEMU answered "${short(word)}" to "${line}"`);
    return BigInt(word);
  }

  #take(line: string): void {
    const interrupt = /^IRQ (raise|lower) (\d{1,4})$/.exec(line);
    if (interrupt !== null) {
      this.onInterrupt?.(Number(interrupt[2]), interrupt[1] === 'raise');
      return;
    }
    if (!this.#requests.answer(line))
      this.#requests.misbehaved(`QEMU said "${short(line)}" without being asked`);
  }
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
