/**
 * The memory by which the monitor and this process talk. All of it is big-endian. Counters count from 0, wrap at 2^32, and
 * each has one writer; entry `n` of a ring is at `n` modulo its size.
 */
export const mailbox = {
  /** Guest addresses of counters, 32 bits each; those that this process writes have a cache line of their own. */
  requested: 0x2000,
  taken: 0x2004,
  done: 0x2040,
  reported: 0x2044,
  /** A byte: 1 while the monitor sleeps, or is about to. Whoever makes it 0 wakes the monitor. */
  asleep: 0x2048,
  /** A byte: 1 once the monitor has seen that it was woken. Whoever makes it 0 may wake it again. */
  woken: 0x2049,
  /** What the monitor asks for to be heard. */
  bell: 0x2800,
  /** Instructions to be executed, and how they ended: a ring of `request`. */
  requests: 0x3000,
  /** I/O interruption codes: a ring of `interruption`. */
  interruptions: 0x4000,
  /** The first address behind it. */
  end: 0x5000,
} as const;

/** An instruction: offsets in bytes. */
export const request = {
  count: 64,
  length: 64,
  /** Which of `instructions`, 4 bytes. */
  instruction: 0,
  /** General registers 1 to 4 before it, 8 bytes each. */
  registers: 8,
  /** Its condition code, 4 bytes; `programInterruption` and the interruption code when it did not end. */
  end: 40,
  /** General register 2 behind it, 8 bytes. */
  register2: 48,
} as const;

/** Added to the code of a program interruption. */
export const programInterruption = 0x1_0000;

/** An I/O interruption code, as the architecture stores it: offsets in bytes. */
export const interruption = {
  count: 256,
  length: 16,
  /** Subsystem-identification word. */
  schid: 0,
  /** Interruption parameter. */
  parameter: 4,
  /** Interruption-identification word: whose it is. */
  identification: 8,
} as const;

/** Interruption-identification word: an adapter interruption. */
export const adapterBit = 0x8000_0000;
/** Interruption-identification word: its subclass, 0 to 7. */
export const iscOf = (identification: number): number => (identification >>> 27) & 7;

/** The instructions that are asked for. All find their subchannel in general register 1, and their operand by register 2. */
export const instructions = {
  START_SUBCHANNEL: 0xb233_2000,
  TEST_SUBCHANNEL: 0xb235_2000,
  STORE_SUBCHANNEL: 0xb234_2000,
  MODIFY_SUBCHANNEL: 0xb232_2000,
  HALT_SUBCHANNEL: 0xb231_0000,
  CLEAR_SUBCHANNEL: 0xb230_0000,
  /** DIAGNOSE with registers 2 and 4 and code 0x500; the subcode is in register 1. */
  DIAGNOSE_500: 0x8324_0500,
} as const;

export type InstructionName = keyof typeof instructions;

/** How a request names an instruction. */
export const instructionNumber = (name: InstructionName): number => Object.keys(instructions).indexOf(name);

/** Subcode of DIAGNOSE 0x500: an available buffer notification. */
export const notifySubcode = 3;
