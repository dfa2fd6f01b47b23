import { HostError } from 'virtio/errors';
import { type GuestFiles, type GuestMachine, type GuestOptions, guestFiles } from 'virtio-node/guests';
import { isSystemError, lacking } from '../exit-status.ts';

/**
 * The files of our Debian guest.
 *
 * @throws {CommandError} when they are not to be had here.
 */
export function debianGuest<M extends GuestMachine = 'v86'>(
  options: GuestOptions<M>,
): Promise<GuestFiles<M>> {
  return fetched(() => guestFiles(options));
}

/** Whatever lacks in what is fetched, the command line is not to blame. */
export async function fetched<T>(fetch: () => Promise<T>): Promise<T> {
  try {
    return await fetch();
  } catch (error) {
    if (error instanceof HostError) throw lacking(error.message, error);
    if (isSystemError(error)) {
      throw lacking(
        `the cache cannot be used (${error.message}); set VIRTIO_CACHE to a folder of yours`,
        error,
      );
    }
    throw error;
  }
}
