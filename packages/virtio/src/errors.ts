import {
  type CommonErrorCode,
  driverMistakes,
  type ErrorClauses,
  type PeerErrorCode,
} from './peer-errors.ts';
import type { ClauseId } from './spec/clauses.ts';

export type { PeerErrorCode } from './peer-errors.ts';

/**
 * The base of every error this project throws or reports. `code` is stable and meant for programs; the
 * message is meant for people and may change.
 */
export abstract class VirtioError extends Error {
  abstract readonly code: string;
}

/** What a caller of ours did wrong. Thrown at once, where the mistake is. */
export type UsageErrorCode =
  | 'BAD_ARGUMENT'
  | 'BAD_LAYOUT'
  | 'BAD_DEVICE_TYPE'
  | 'BAD_STATE'
  | 'CHAIN_COMPLETED'
  | 'OUT_OF_BOUNDS'
  | 'OUT_OF_MEMORY'
  | 'QUEUE_FULL'
  | 'NOT_NEGOTIATED'
  | 'UNKNOWN_NAME';

/** Our caller's mistake: a wrong argument, a call at the wrong time. */
export class UsageError extends VirtioError {
  override readonly name = 'UsageError';
  readonly code: UsageErrorCode;

  constructor(code: UsageErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

const commonClauses: ErrorClauses = driverMistakes;

/**
 * The other side broke a MUST. It is reported, never thrown through the host's stack: the queue is marked
 * broken or the device sets DEVICE_NEEDS_RESET, and a reset brings it back.
 */
export class PeerError extends VirtioError {
  override readonly name = 'PeerError';
  readonly code: PeerErrorCode;
  /** The clause that was broken; `undefined` where the specification implies it without a clause. */
  readonly clause: ClauseId | undefined;

  /** `clause` where the code alone does not tell it: a request or response that a device type's chapter forbids. */
  constructor(code: CommonErrorCode, message: string, clause?: ClauseId);
  /** The clause of any other code is in a table of `peer-errors`. */
  constructor(code: PeerErrorCode, message: string, clause: ClauseId | undefined);
  constructor(code: PeerErrorCode, message: string, clause?: ClauseId) {
    super(message);
    this.code = code;
    this.clause = clause ?? commonClauses[code];
  }
}

/** What lies beneath us failed; `code` says what was being done, `cause` holds the reason. */
export type HostErrorCode =
  | 'IO_ERROR'
  | 'NO_SPACE'
  | 'IN_USE'
  | 'NOT_FOUND'
  | 'BAD_IMAGE'
  | 'MISSING_TOOL'
  | 'DOWNLOAD_FAILED'
  | 'CHECKSUM_MISMATCH'
  | 'DEVICE_GONE'
  | 'CONNECTION_REFUSED'
  | 'CONNECTION_RESET'
  | 'GUEST_FAILED';

/** The machine beneath us failed: a file, a disk that is full, a tool that is not there. */
export class HostError extends VirtioError {
  override readonly name = 'HostError';
  readonly code: HostErrorCode;

  constructor(code: HostErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** What was thrown, as an error of ours. Where it is none, `what` says what failed: a device's own code, unless told. */
export function asVirtioError(error: unknown, what = 'a handler failed'): VirtioError {
  if (error instanceof VirtioError) return error;
  return new HostError('IO_ERROR', `${what}: ${String(error)}`, { cause: error });
}
