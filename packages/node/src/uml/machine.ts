import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { UsageError } from 'virtio/errors';
import type { GuestFiles } from '../guests/guest-files.ts';
import { NativeGuest, type NativeGuestOptions, type VhostUserDevice } from '../guests/native-guest.ts';

/** What a user-mode Linux is to be. */
export interface UmlOptions extends NativeGuestOptions {
  /** Kernel and initramfs, as `guestFiles` makes them. */
  readonly guest: GuestFiles<'uml'>;
}

/**
 * User-mode Linux: a kernel that is a program of this machine, with devices that are other programs' by vhost-user. Its
 * first serial port is `/dev/ttyS0`; the kernel's console is `/dev/tty0`.
 */
export class UmlMachine extends NativeGuest {
  /**
   * Starts it; the guest has still to boot.
   *
   * @throws {UsageError} BAD_ARGUMENT for a path of a socket that its command line cannot say.
   */
  static async start(options: UmlOptions): Promise<UmlMachine> {
    const { guest, memory = 256, devices = [], ports = 0 } = options;
    const folder = await mkdtemp(join(tmpdir(), 'virtio-uml-'));
    const child = await NativeGuest.startChild(
      guest.linux,
      [
        `mem=${memory}M`,
        `initrd=${options.initrd ?? guest.initrd}`,
        // Where it keeps its process number and a socket for commands; the user's home unless told.
        `uml_dir=${folder}/`,
        ...['con=null', 'con0=null,fd:1', 'ssl=null'],
        ...Array.from({ length: ports }, (_, index) => `ssl${index}=fd:${3 + index}`),
        ...devices.map(deviceArgument),
        'quiet',
        ...(options.append === undefined ? [] : options.append.split(' ')),
      ],
      {
        name: 'user-mode Linux',
        environment: { LD_LIBRARY_PATH: dirname(guest.libc), ...(await memoryFolder(memory)) },
        sockets: ports,
      },
    );
    // By the time that it speaks it has opened what is in the folder. Nothing is left behind then, however we end.
    const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
    child.output.once('data', remove);
    void child.ended.then(remove);
    return new UmlMachine(child, options);
  }
}

function deviceArgument({ socket, id }: VhostUserDevice): string {
  if (!/[:"\s]/.test(socket)) return `virtio_uml.device=${socket}:${id}`;
  throw new UsageError(
    'BAD_ARGUMENT',
    `${socket}: a path with colons, quotes or spaces is none for user-mode Linux`,
  );
}

/** Its memory is a file, which is to lie in memory where there is room for it. */
async function memoryFolder(mebibytes: number): Promise<Readonly<Record<string, string>>> {
  const folder = '/dev/shm';
  const room = await statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return room > mebibytes * 2 ** 20 ? { TMPDIR: folder } : {};
}
