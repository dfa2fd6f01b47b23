/** What differs between the machines of QEMU that we know how to use. */
export interface Board {
  /** Guest address at which memory starts, in bytes. */
  readonly memoryStart: number;
  /** The first address behind what the board keeps of its memory for itself. */
  readonly freeStart: number;
  /** The most bytes of memory that lie in one piece. */
  readonly mostMemory: number;
  /** The device at which interrupt lines are watched, by its path or its type. */
  readonly interrupts: { readonly path: string } | { readonly type: string } | undefined;
  /** A firmware that halts the processor, for those that would run off otherwise. */
  readonly firmware: (() => Uint8Array) | undefined;
}

const megabyte = 1 << 20;

const x86 = {
  memoryStart: 0,
  freeStart: megabyte,
  mostMemory: 2 ** 31,
  interrupts: { path: 'ioapic' },
  firmware: haltX86,
} as const;

/** The machines, by the name that QEMU has for them. */
export const boards = {
  pc: x86,
  q35: x86,
  microvm: x86,
  virt: {
    memoryStart: 0x4000_0000,
    // QEMU puts its device tree at the start of memory.
    freeStart: 0x4000_0000 + 2 * megabyte,
    mostMemory: 2 ** 37,
    interrupts: { type: 'arm_gic' },
    firmware: haltArm64,
  },
  's390-ccw-virtio': {
    memoryStart: 0,
    freeStart: megabyte,
    mostMemory: 2 ** 37,
    interrupts: undefined,
    firmware: undefined,
  },
} as const satisfies Record<string, Board>;

export type BoardName = keyof typeof boards;

/** The last 64 KiB below 4 GiB. A processor starts 16 bytes before their end: cli; hlt; jmp to the hlt. */
function haltX86(): Uint8Array {
  const bytes = new Uint8Array(0x1_0000);
  bytes.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return bytes;
}

/** A processor starts at the first byte: wfi; b to the wfi. */
function haltArm64(): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xd503_207f, true);
  view.setUint32(4, 0x17ff_ffff, true);
  return bytes;
}
