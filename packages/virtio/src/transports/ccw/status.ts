import { array, be16, be32, bytes, type Struct, struct, u8 } from '../../spec/layout.ts';

const subchannelStatusWord = {
  flags: be16,
  /** Function, activity and status control. */
  ctrl: be16,
  /** Where the channel program has come to: 8 behind the last CCW that was used. */
  cpa: be32,
  /** Device status. */
  dstat: u8,
  /** Subchannel status. */
  cstat: u8,
  /** The bytes that the last CCW has left. */
  count: be16,
} as const;

/** The subchannel-status word. */
export const scsw: Struct<typeof subchannelStatusWord> = struct('scsw', subchannelStatusWord);

/** `flags` of an SCSW. */
export const scswFlag = Object.freeze({
  KEY: 0xf000,
  SUSPEND: 0x0800,
  /** The extended-status word has a format of its own. */
  EXTENDED_STATUS: 0x0400,
  /** The deferred condition code. */
  CC: 0x0300,
  FORMAT1: 0x0080,
  PREFETCH: 0x0040,
  INITIAL_STATUS: 0x0020,
  ADDRESS_LIMIT: 0x0010,
  SUPPRESS_SUSPENDED: 0x0008,
  ZERO_CC: 0x0004,
  /** The extended-control words hold something: sense data. */
  EXTENDED_CONTROL: 0x0002,
  PATH_NOT_OPERATIONAL: 0x0001,
} as const);

/** Function control: what was asked of the subchannel. */
export const functionControl = Object.freeze({ START: 0x4000, HALT: 0x2000, CLEAR: 0x1000 } as const);

/** Activity control: what it is at. */
export const activityControl = Object.freeze({
  RESUME_PENDING: 0x0800,
  START_PENDING: 0x0400,
  HALT_PENDING: 0x0200,
  CLEAR_PENDING: 0x0100,
  SUBCHANNEL_ACTIVE: 0x0080,
  DEVICE_ACTIVE: 0x0040,
  SUSPENDED: 0x0020,
} as const);

/** Status control: what there is to be told. */
export const statusControl = Object.freeze({
  ALERT: 0x10,
  INTERMEDIATE: 0x08,
  PRIMARY: 0x04,
  SECONDARY: 0x02,
  PENDING: 0x01,
} as const);

/** The parts of `ctrl`. */
export const scswCtrlMask = Object.freeze({ FUNCTION: 0x7000, ACTIVITY: 0x0fe0, STATUS: 0x001f } as const);

/** What the device says of itself at the end of a command. */
export const deviceStatus = Object.freeze({
  ATTENTION: 0x80,
  STATUS_MODIFIER: 0x40,
  CONTROL_UNIT_END: 0x20,
  BUSY: 0x10,
  CHANNEL_END: 0x08,
  DEVICE_END: 0x04,
  /** Sense data say what is wrong. */
  UNIT_CHECK: 0x02,
  UNIT_EXCEPTION: 0x01,
} as const);

/** What the channel says of the channel program. */
export const subchannelStatus = Object.freeze({
  PROGRAM_CONTROLLED_INTERRUPTION: 0x80,
  INCORRECT_LENGTH: 0x40,
  PROGRAM_CHECK: 0x20,
  PROTECTION_CHECK: 0x10,
  CHANNEL_DATA_CHECK: 0x08,
  CHANNEL_CONTROL_CHECK: 0x04,
  INTERFACE_CONTROL_CHECK: 0x02,
  CHAINING_CHECK: 0x01,
} as const);

/** Bytes of sense data, here and in the IRB. */
export const senseLength = 32;

const interruptionResponseBlock = {
  scsw,
  /** The extended-status word; word 0 holds the paths used, word 1 tells of concurrent sense. */
  esw: array(be32, 5),
  /** Extended-control words: sense data. */
  ecw: bytes(senseLength),
  /** Extended measurements, which are not to be had here. */
  emw: array(be32, 8),
} as const;

/** The interruption-response block, which TEST SUBCHANNEL stores. */
export const irb: Struct<typeof interruptionResponseBlock> = struct('irb', interruptionResponseBlock);

/** Bytes of an IRB that are stored: extended measurements are off. */
export const irbLength = 64;

/** In word 1 of the extended status: sense data are in the IRB already. */
export const senseIsThere = 0x0100_0000;

/** The whole of that word: so many bytes of them are. */
export const concurrentSense: number = senseIsThere + senseLength * 2 ** 16;

/** Bits of the first sense byte. */
export const senseBit = Object.freeze({
  COMMAND_REJECT: 0x80,
  INTERVENTION_REQUIRED: 0x40,
  BUS_OUT_CHECK: 0x20,
  EQUIPMENT_CHECK: 0x10,
  DATA_CHECK: 0x08,
  OVERRUN: 0x04,
} as const);

const senseIdBlock = {
  /** 0xff. */
  reserved: u8,
  cu_type: be16,
  cu_model: u8,
  dev_type: be16,
  dev_model: u8,
  unused: u8,
  /** Extended SENSE ID data: zeroes. */
  extended: bytes(248),
} as const;

/** What SENSE ID gives (4.3.1). */
export const senseid: Struct<typeof senseIdBlock> = struct('senseid', senseIdBlock);

/** The names of the bits that are set, of one of the tables above: `CHANNEL_END|UNIT_CHECK`. */
export function bitNames(table: Readonly<Record<string, number>>, value: number): string {
  const names = Object.entries(table).filter(([, bit]) => (value & bit) !== 0);
  return names.length === 0 ? 'nothing' : names.map(([name]) => name).join('|');
}
