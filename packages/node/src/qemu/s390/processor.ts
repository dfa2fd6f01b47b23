import { HostError } from 'virtio/errors';
import type { GuestMemory } from 'virtio/memory';
import type { GdbRemote } from '../gdb/remote.ts';
import { absoluteAddress, Lowcore, type Psw, pswMask } from './lowcore.ts';
import { translate } from './translation.ts';

/** What an instruction finds: the PSW before it, and the general registers. */
export interface ProcessorState extends Psw {
  readonly general: readonly bigint[];
}

const generalRegisters = 16;

/** The one processor of a machine while it stands still. */
export class Processor {
  readonly gdb: GdbRemote;
  readonly #memory: GuestMemory;
  readonly #numbers: ReadonlyMap<string, number>;

  private constructor(gdb: GdbRemote, memory: GuestMemory, numbers: ReadonlyMap<string, number>) {
    this.gdb = gdb;
    this.#memory = memory;
    this.#numbers = numbers;
  }

  static async attach(gdb: GdbRemote, memory: GuestMemory): Promise<Processor> {
    return new Processor(gdb, memory, await gdb.registers());
  }

  async state(): Promise<ProcessorState> {
    // The first feature holds these alone, in this order.
    const [mask = 0n, address = 0n, ...rest] = await this.gdb.readRegisters();
    return { mask, address, general: rest.slice(0, generalRegisters) };
  }

  async setPsw({ mask, address }: Psw): Promise<void> {
    await this.gdb.writeRegister(this.#number('pswm'), mask);
    await this.gdb.writeRegister(this.#number('pswa'), address);
  }

  setGeneral(register: number, value: bigint): Promise<void> {
    return this.gdb.writeRegister(this.#number(`r${register}`), value);
  }

  control(register: number): Promise<bigint> {
    return this.gdb.readRegister(this.#number(`cr${register}`));
  }

  prefix(): Promise<bigint> {
    return this.gdb.readRegister(this.#number('prefix'));
  }

  async lowcore(): Promise<Lowcore> {
    return new Lowcore(this.#memory, await this.prefix());
  }

  /**
   * Absolute addresses of bytes at a logical address, as an instruction under this PSW finds them: one for each page.
   * `undefined` where there is no memory.
   */
  async locate(psw: Psw, address: bigint, length: number): Promise<Piece[] | undefined> {
    const prefix = await this.prefix();
    const table = (psw.mask & pswMask.TRANSLATION) === 0n ? undefined : await this.control(spaceOf(psw));
    const pieces: Piece[] = [];
    for (let at = address, left = length; left > 0; ) {
      const real = table === undefined ? at : translate(this.#memory, table, at);
      if (real === undefined) return undefined;
      const size = Math.min(left, pageLength - Number(at % BigInt(pageLength)));
      const piece = { address: Number(absoluteAddress(real, prefix)), length: size };
      if (!this.#memory.contains(piece.address, size, 'write')) return undefined;
      pieces.push(piece);
      at += BigInt(size);
      left -= size;
    }
    return pieces;
  }

  #number(name: string): number {
    const number = this.#numbers.get(name);
    if (number !== undefined) return number;
    throw new HostError(
      'NOT_FOUND',
      `QEMU's debugger stub tells of no register ${name}: is it another version?`,
    );
  }
}

/** Bytes that lie together. */
export interface Piece {
  readonly address: number;
  readonly length: number;
}

const pageLength = 4096;

/** The control register of the address space that a PSW means: the home space, or else the primary one. */
const spaceOf = ({ mask }: Psw): number => ((mask & pswMask.SPACE) === pswMask.SPACE ? 13 : 1);
