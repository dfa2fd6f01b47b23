import { errnoName, FsError } from 'virtio/devices/fs';

/** @throws {FsError} for a call that gave minus an errno. */
export function checked(result: number): number {
  if (result < 0) throw failed(result);
  return result;
}

/** The error for a call that gave minus an errno. */
export function failed(result: number): FsError {
  return new FsError(errnoName(-result));
}
