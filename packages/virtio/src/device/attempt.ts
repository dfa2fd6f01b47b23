import { HostError, VirtioError } from '../errors.ts';

/** Runs what may fail now, or later. */
export function attempt(call: () => void | Promise<void>, failed: (error: unknown) => void): void {
  try {
    const settled = call();
    if (settled instanceof Promise) settled.catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** What a device's own code threw, as an error of ours. */
export function asVirtioError(error: unknown): VirtioError {
  if (error instanceof VirtioError) return error;
  return new HostError('IO_ERROR', `a device handler failed: ${String(error)}`, { cause: error });
}
