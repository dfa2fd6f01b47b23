/** The numbers of the NBD protocol, by the names of its own description. All fields are big-endian. */

export const magic = {
  INIT: 0x4e42_444d_4147_4943n,
  OLDSTYLE: 0x0042_0281_8612_53n,
  OPTION: 0x4948_4156_454f_5054n,
  OPTION_REPLY: 0x0003_e889_0455_65a9n,
  REQUEST: 0x2560_9513,
  SIMPLE_REPLY: 0x6744_6698,
  STRUCTURED_REPLY: 0x668e_33ef,
} as const;

export const handshakeFlag = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const option = { EXPORT_NAME: 1, STARTTLS: 5, GO: 7, STRUCTURED_REPLY: 8 } as const;

export const reply = {
  ACK: 1,
  INFO: 3,
  ERR_UNSUP: 2 ** 31 + 1,
  ERR_POLICY: 2 ** 31 + 2,
  ERR_INVALID: 2 ** 31 + 3,
  ERR_PLATFORM: 2 ** 31 + 4,
  ERR_TLS_REQD: 2 ** 31 + 5,
  ERR_UNKNOWN: 2 ** 31 + 6,
  ERR_SHUTDOWN: 2 ** 31 + 7,
  ERR_BLOCK_SIZE_REQD: 2 ** 31 + 8,
  ERR_TOO_BIG: 2 ** 31 + 9,
} as const;

export const info = { EXPORT: 0, BLOCK_SIZE: 3 } as const;

export const transmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
} as const;

export const command = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6 } as const;
export const commandFlag = { FUA: 1 << 0, NO_HOLE: 1 << 1 } as const;

export const replyFlag = { DONE: 1 } as const;
export const chunk = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, ERROR_BIT: 1 << 15 } as const;

/** Error values, by their numbers. */
export const errorNames: Readonly<Record<number, string>> = {
  1: 'NBD_EPERM',
  5: 'NBD_EIO',
  12: 'NBD_ENOMEM',
  22: 'NBD_EINVAL',
  28: 'NBD_ENOSPC',
  75: 'NBD_EOVERFLOW',
  95: 'NBD_ENOTSUP',
  108: 'NBD_ESHUTDOWN',
};
export const ENOSPC = 28;
export const ESHUTDOWN = 108;

/** Bytes. */
export const length = { request: 28, simpleReply: 16, structuredReply: 20, optionReply: 20 } as const;
/** Bytes of a string, says the protocol. */
export const longestString = 4096;
/** Bytes of a payload that every server takes, and that are taken from every server. */
export const commonPayload = 32 * 2 ** 20;
/** The port of NBD. */
export const defaultPort = 10_809;

/** A name of ours for a number of theirs. */
export const nameOf = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, known]) => known === value)?.[0] ?? String(value);
