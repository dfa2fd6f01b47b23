import { HostError, type HostErrorCode, PeerError, UsageError } from 'virtio/errors';

/** The exit statuses of the command. With `run --exec` the guest's own status takes their place. */
export const exitStatus = Object.freeze({
  ok: 0,
  findings: 1,
  usage: 2,
  environment: 3,
  internal: 4,
} as const);

/** One of our own exit statuses. */
export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus];

/** Ends the command: the message is one line that says what is wrong and what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly status: ExitStatus;

  constructor(status: ExitStatus, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}

/** The user asked for what cannot be. */
export function usage(message: string, cause?: unknown): CommandError {
  return new CommandError(exitStatus.usage, message, { cause });
}

/** This machine lacks something. */
export function lacking(message: string, cause?: unknown): CommandError {
  return new CommandError(exitStatus.environment, message, { cause });
}

/**
 * What is to be thrown for what lies beneath us and refuses what was typed, such as a path, behind `option` if there is one;
 * any other error as it is.
 */
export function refused(error: unknown, option?: string): unknown {
  if (!(error instanceof HostError || error instanceof UsageError)) return error;
  return usage(option === undefined ? error.message : `${option} ${error.message}`, error);
}

const statusOfHostError: Partial<Record<HostErrorCode, ExitStatus>> = {
  NOT_FOUND: exitStatus.usage,
  IN_USE: exitStatus.usage,
  BAD_IMAGE: exitStatus.usage,
  GUEST_FAILED: exitStatus.findings,
};

/** What any error means for whoever typed the command: our exit status and one line. */
export function explain(error: unknown): { readonly status: ExitStatus; readonly message: string } {
  if (error instanceof CommandError) return { status: error.status, message: oneLine(error.message) };
  if (error instanceof HostError) {
    const status = statusOfHostError[error.code] ?? exitStatus.environment;
    return { status, message: oneLine(withCause(error)) };
  }
  // Whoever is behind a socket is not what he should be, or is broken.
  if (error instanceof PeerError) return { status: exitStatus.findings, message: oneLine(error.message) };
  if (isSystemError(error)) {
    return { status: exitStatus.environment, message: `this machine refuses: ${oneLine(error.message)}` };
  }
  const said = error instanceof Error ? error.message : String(error);
  const code = error instanceof UsageError ? ` (${error.code})` : '';
  return {
    status: exitStatus.internal,
    message: oneLine(`a fault of our own${code}: ${said}; VIRTIO_DEBUG=1 shows where, please report it`),
  };
}

/** Whether the operating system said no: a folder that cannot be written, a disk that is full. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

function withCause(error: Error): string {
  const { cause } = error;
  if (!(cause instanceof Error) || error.message.includes(cause.message)) return error.message;
  return `${error.message}: ${cause.message}`;
}

function oneLine(text: string): string {
  return text
    .trim()
    .split(/\s*\n\s*/)
    .join(' | ');
}
