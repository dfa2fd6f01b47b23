import { be16, be32, be64, bytes, type Struct, struct, u8 } from '../../spec/layout.ts';
import { scsw } from './status.ts';

const pathManagementControlWord = {
  /** The interruption parameter. */
  intparm: be32,
  flags: be16,
  /** The device number. */
  devno: be16,
  /** Logical-path mask: the program's choice of paths. */
  lpm: u8,
  /** Paths not operational. */
  pnom: u8,
  /** The path last used. */
  lpum: u8,
  /** Paths installed. */
  pim: u8,
  /** Measurement-block index. */
  mbi: be16,
  /** Paths operational. */
  pom: u8,
  /** Paths available. */
  pam: u8,
  /** The channel-path id of each of the eight paths. */
  chpid: bytes(8),
  chars: be32,
} as const;

/** The path-management-control word. */
export const pmcw: Struct<typeof pathManagementControlWord> = struct('pmcw', pathManagementControlWord);

/** `flags` of a PMCW. */
export const pmcwFlag = Object.freeze({
  /** The interruption subclass, from bit 11 on. */
  ISC: 0x3800,
  /** The program must leave these 0. */
  RESERVED: 0x0700,
  /** The subchannel is enabled. */
  ENABLED: 0x0080,
  LIMIT_MODE: 0x0060,
  MEASUREMENT_MODE: 0x0018,
  MULTIPATH: 0x0004,
  TIMING_FACILITY: 0x0002,
  /** There is a device, and its number is valid. */
  DEVICE_NUMBER_VALID: 0x0001,
} as const);

/** How far the interruption subclass is shifted in `flags`. */
export const iscShift = 11;

/** `chars` of a PMCW. */
export const pmcwChars = Object.freeze({
  /** The program must leave these 0. */
  RESERVED: 0xff1f_fff8,
  MEASUREMENT_FORMAT1: 0x4,
  EXTENDED_MEASUREMENTS: 0x2,
  /** Sense data come with the IRB. */
  CONCURRENT_SENSE: 0x1,
} as const);

const subchannelInformationBlock = {
  pmcw,
  scsw,
  /** Measurement-block address. */
  mba: be64,
  mda: bytes(4),
} as const;

/** The subchannel-information block of STORE and MODIFY SUBCHANNEL. */
export const schib: Struct<typeof subchannelInformationBlock> = struct('schib', subchannelInformationBlock);

/** The upper half of every `schid`: subchannel set 0 of the first channel subsystem. */
export const schidBase = 0x0001_0000;

/** The subsystem identification word of a subchannel number, 0 to 65535. */
export const schidOf = (subchannel: number): number => schidBase + subchannel;

/** The one channel path: the first of eight. */
export const onlyPath = 0x80;
