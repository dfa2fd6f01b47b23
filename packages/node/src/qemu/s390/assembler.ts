import { UsageError } from 'virtio/errors';

/** A byte or more of storage: a displacement, in bytes, from what a general register holds; from 0 without one. */
export interface Operand {
  /** 0 to 4095. */
  readonly displacement: number;
  /** 1 to 15; 0 for none. */
  readonly base: number;
}

/** An operand `displacement` bytes behind what a register holds. */
export const from = (base: number, displacement = 0): Operand => ({ base, displacement });

/** An operand below 4096, which needs no register. */
export const absolute = (displacement: number): Operand => ({ base: 0, displacement });

/** Bytes of an instruction of {@link Assembler.word}, and of a branch. */
export const wordLength = 4;

/** Condition codes under which a branch is taken, as its mask has them. */
export const when = { cc0: 8, cc1: 4, cc2: 2, cc3: 1, notZero: 7, always: 15 } as const;

type Label = string;

/**
 * Assembles the few instructions of z/Architecture that a monitor needs, from an address on. Methods are called as the
 * instructions are, in lower case, with the operands in the order of the assembler language.
 */
export class Assembler {
  readonly #start: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<Label, number>();
  readonly #branches: { readonly at: number; readonly to: Label }[] = [];

  /** @param start guest address of the first instruction */
  constructor(start: number) {
    this.#start = start;
  }

  /** Names the place of what comes next. */
  label(name: Label): this {
    this.#labels.set(name, this.#start + this.#bytes.length);
    return this;
  }

  /** Guest address of a label that was set. */
  addressOf(name: Label): number {
    const address = this.#labels.get(name);
    if (address === undefined) throw new UsageError('UNKNOWN_NAME', `there is no label ${name}`);
    return address;
  }

  /** The machine code: branches know where they lead now. */
  assemble(): Uint8Array {
    const code = Uint8Array.from(this.#bytes);
    const view = new DataView(code.buffer);
    for (const { at, to } of this.#branches) {
      view.setInt16(at + 2, (this.addressOf(to) - this.#start - at) / 2);
    }
    return code;
  }

  /** Load, 32 bits. */
  l = (r1: number, from: Operand): this => this.#rx(0x58, r1, from);
  /** Store, 32 bits. */
  st = (r1: number, to: Operand): this => this.#rx(0x50, r1, to);
  /** Compare with storage, 32 bits. */
  c = (r1: number, with_: Operand): this => this.#rx(0x59, r1, with_);

  /** An instruction of 4 bytes, as it is. */
  word = (value: number): this => this.#half(value >>> 16).#half(value & 0xffff);

  /** Load halfword immediate, 32 bits. */
  lhi = (r1: number, value: number): this => this.#ri(0xa7, r1, 0x8, value);
  /** Load halfword immediate, 64 bits. */
  lghi = (r1: number, value: number): this => this.#ri(0xa7, r1, 0x9, value);
  /** Add halfword immediate, 32 bits. */
  ahi = (r1: number, value: number): this => this.#ri(0xa7, r1, 0xa, value);
  /** And with the lowest halfword. */
  nill = (r1: number, value: number): this => this.#ri(0xa5, r1, 0x7, value);
  /** Or with the higher halfword of the lower word. */
  oilh = (r1: number, value: number): this => this.#ri(0xa5, r1, 0xa, value);
  /** Branch relative on condition. */
  brc = (mask: number, to: Label): this => this.#branch(mask, 0x4, to);
  /** Branch relative on count: subtract 1, branch unless that is 0. */
  brct = (r1: number, to: Label): this => this.#branch(r1, 0x6, to);
  j = (to: Label): this => this.brc(when.always, to);

  /** Compare, 32 bits. */
  cr = (r1: number, r2: number): this => this.#rr(0x19, r1, r2);
  /** Load and test, 32 bits. */
  ltr = (r1: number, r2: number): this => this.#rr(0x12, r1, r2);
  /** Branch on condition; with mask 15 and register 0, serialization: all storing is done before what follows. */
  bcr = (mask: number, r2: number): this => this.#rr(0x07, mask, r2);

  /** Load from 32 bits, zeros in front. */
  llgfr = (r1: number, r2: number): this => this.#rre(0xb916, r1, r2);
  /** Add, 64 bits. */
  agr = (r1: number, r2: number): this => this.#rre(0xb908, r1, r2);
  /** Insert program mask: bits 2 and 3 of the lower word become the condition code. */
  ipm = (r1: number): this => this.#rre(0xb222, r1, 0);
  /** Service call: a command word and the address of its SCCB. */
  servc = (r1: number, r2: number): this => this.#rre(0xb220, r1, r2);

  /** Shift right, 32 bits. */
  srl = (r1: number, by: number): this => this.#halves(0x8800 | (r1 << 4), absolute(by));
  /** Shift left, 64 bits. */
  sllg = (r1: number, r3: number, by: number): this => this.#long(0xeb, r1, r3, absolute(by), 0x0d);
  /** Load several, 64 bits each. */
  lmg = (r1: number, r3: number, from: Operand): this => this.#long(0xeb, r1, r3, from, 0x04);
  /** Load control registers, 64 bits each. */
  lctlg = (r1: number, r3: number, from: Operand): this => this.#long(0xeb, r1, r3, from, 0x2f);
  /** Store, 64 bits. */
  stg = (r1: number, to: Operand): this => this.#long(0xe3, r1, 0, to, 0x24);
  /** Load a halfword, zeros in front. */
  llgh = (r1: number, from: Operand): this => this.#long(0xe3, r1, 0, from, 0x91);

  /** Or a byte of storage with a value. */
  oi = (to: Operand, value: number): this => this.#halves(0x9600 | value, to);
  /** And likewise. */
  ni = (to: Operand, value: number): this => this.#halves(0x9400 | value, to);
  /** Move a value to a byte of storage. */
  mvi = (to: Operand, value: number): this => this.#halves(0x9200 | value, to);
  /** Move bytes of storage, 1 to 256. */
  mvc = (to: Operand, length: number, from: Operand): this =>
    this.#halves(0xd200 | (length - 1), to).#half(address(from));

  /** Compare bytes of storage, 1 to 256. */
  clc = (one: Operand, length: number, other: Operand): this =>
    this.#halves(0xd500 | (length - 1), one).#half(address(other));

  /** Store the system mask, the first byte of the PSW, and leave of it what is in a value. */
  stnsm = (to: Operand, value: number): this => this.#halves(0xac00 | value, to);

  /** Load a PSW of 16 bytes. */
  lpswe = (from: Operand): this => this.#halves(0xb2b2, from);
  /** Test pending interruption: takes one, and stores its code; at 184 when the address is 0. */
  tpi = (to: Operand): this => this.#halves(0xb236, to);

  #rr(code: number, r1: number, r2: number): this {
    return this.#half((code << 8) | (r1 << 4) | r2);
  }

  #rre(code: number, r1: number, r2: number): this {
    return this.#half(code).#half((r1 << 4) | r2);
  }

  #rx(code: number, r1: number, operand: Operand): this {
    return this.#halves((code << 8) | (r1 << 4), operand);
  }

  #ri(code: number, r1: number, more: number, value: number): this {
    return this.#half((code << 8) | (r1 << 4) | more).#half(value & 0xffff);
  }

  #branch(r1: number, more: number, to: Label): this {
    this.#branches.push({ at: this.#bytes.length, to });
    return this.#ri(0xa7, r1, more, 0);
  }

  /** RSY and RXY: the second part of the code stands behind the displacement. */
  #long(code: number, r1: number, r3: number, operand: Operand, more: number): this {
    return this.#halves((code << 8) | (r1 << 4) | r3, operand).#half(more);
  }

  #halves(first: number, operand: Operand): this {
    return this.#half(first).#half(address(operand));
  }

  #half(value: number): this {
    this.#bytes.push(value >>> 8, value & 0xff);
    return this;
  }
}

function address({ base, displacement }: Operand): number {
  if (displacement < 0 || displacement > 0xfff) {
    throw new UsageError('BAD_ARGUMENT', `a displacement of ${displacement} bytes does not fit`);
  }
  return (base << 12) | displacement;
}
