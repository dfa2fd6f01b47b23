import { be16, be32, bytes, type Struct, struct, u8 } from '../../spec/layout.ts';

const format0 = {
  cmd_code: u8,
  /** 24 bits of an address, in two parts. */
  cda_high: u8,
  cda_low: be16,
  flags: u8,
  reserved: u8,
  /** Bytes. */
  count: be16,
} as const;

/** A format-0 channel-command word. */
export const ccw0: Struct<typeof format0> = struct('ccw0', format0);

const format1 = {
  cmd_code: u8,
  flags: u8,
  /** Bytes. */
  count: be16,
  /** 31 bits of an address; the highest is 0. */
  cda: be32,
} as const;

/** A format-1 channel-command word. */
export const ccw1: Struct<typeof format1> = struct('ccw1', format1);

/** The flags of a CCW, of either format. */
export const ccwFlag = Object.freeze({
  /** Chain data: the next CCW goes on with the same command. */
  CD: 0x80,
  /** Chain command. */
  CC: 0x40,
  /** Suppress the indication of an incorrect length. */
  SLI: 0x20,
  /** Skip: nothing is stored. */
  SKIP: 0x10,
  /** Program-controlled interruption. */
  PCI: 0x08,
  /** The address is that of a list of indirect-data-address words. */
  IDA: 0x04,
  /** Suspend before this CCW. */
  SUSPEND: 0x02,
  /** Modified indirect data addressing, which is not to be had here. */
  MIDA: 0x01,
} as const);

const operationRequestBlock = {
  /** The interruption parameter. */
  intparm: be32,
  ctrl0: be16,
  /** Logical-path mask. */
  lpm: u8,
  ctrl1: u8,
  /** The channel-program address: 31 bits. */
  cpa: be32,
  /** Read where ctrl1 says ORBX alone. */
  extension: bytes(20),
} as const;

/** The operation-request block of START SUBCHANNEL. */
export const orb: Struct<typeof operationRequestBlock> = struct('orb', operationRequestBlock);

/** Bytes of an ORB without its extension. */
export const orbLength = 12;

/** `ctrl0` of an ORB. */
export const orbCtrl0 = Object.freeze({
  KEY: 0xf000,
  /** Suspend control: CCWs may suspend. */
  SUSPEND: 0x0800,
  STREAMING: 0x0400,
  MODIFICATION: 0x0200,
  SYNCHRONIZE: 0x0100,
  /** CCWs are of format 1. */
  FORMAT1: 0x0080,
  PREFETCH: 0x0040,
  INITIAL_STATUS: 0x0020,
  ADDRESS_LIMIT: 0x0010,
  /** No interruption for a suspension. */
  SUPPRESS_SUSPENDED: 0x0008,
  /** The channel program is a transport command word, which is not to be had here. */
  TRANSPORT_MODE: 0x0004,
  /** Indirect-data-address words are of format 2: 64 bits. */
  IDAW2: 0x0002,
  /** Format-2 words are for 2 KiB each, not for 4. */
  IDAW_2K: 0x0001,
} as const);

/** `ctrl1` of an ORB. */
export const orbCtrl1 = Object.freeze({
  /** An immediate command of format 1 shows no incorrect length, as in format 0. */
  LENGTH_SUPPRESSION: 0x80,
  MODIFIED_IDA: 0x40,
  EXTENSION: 0x01,
} as const);
