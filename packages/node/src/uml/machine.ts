import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { UsageError } from 'virtio/errors';
import type { GuestFiles } from '../guests/guest-files.ts';
import { NativeGuest, type NativeGuestOptions, type VhostUserDevice } from '../guests/native-guest.ts';

/** What a user-mode Linux is to be. */
export interface UmlOptions extends NativeGuestOptions {
  /** Kernel and initramfs, as `guestFiles` makes them. A kernel without a `libc` of its own has this machine's. */
  readonly guest: Pick<GuestFiles<'uml'>, 'linux' | 'initrd'> & Partial<Pick<GuestFiles<'uml'>, 'libc'>>;
}

/**
 * User-mode Linux: a kernel that is a program of this machine, with devices that are other programs' by vhost-user. Its
 * first serial port is `/dev/ttyS0`; the kernel's console is `/dev/tty0`.
 */
export class UmlMachine extends NativeGuest {
  /**
   * Starts it; the guest has still to boot.
   *
   * @throws {UsageError} BAD_ARGUMENT for a path that its command line cannot say.
   */
  static async start(options: UmlOptions): Promise<UmlMachine> {
    const { guest, memory = 256, devices = [], ports = 0, commandLine = 'quiet' } = options;
    const initrd = said(options.initrd ?? guest.initrd);
    const deviceArguments = devices.map(deviceArgument);
    const folder = await mkdtemp(join(tmpdir(), 'virtio-uml-'));
    const child = await NativeGuest.startChild(
      guest.linux,
      [
        `mem=${memory}M`,
        `initrd=${initrd}`,
        // Where it keeps its process number and a socket for commands; the user's home unless told.
        `uml_dir=${folder}/`,
        ...['con=null', 'con0=null,fd:1', 'ssl=null'],
        ...Array.from({ length: ports }, (_, index) => `ssl${index}=fd:${3 + index}`),
        ...deviceArguments,
        ...[commandLine, options.append ?? ''].flatMap((words) => words.split(' ').filter(Boolean)),
      ],
      {
        name: 'user-mode Linux',
        environment: {
          ...(guest.libc === undefined ? {} : { LD_LIBRARY_PATH: dirname(guest.libc) }),
          ...(await memoryFolder(memory)),
        },
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
  if (!socket.includes(':')) return `virtio_uml.device=${said(socket)}:${id}`;
  throw new UsageError('BAD_ARGUMENT', `${socket}: a path with colons is none for user-mode Linux`);
}

/** A path that its command line can say. */
function said(path: string): string {
  if (!/["\s]/.test(path)) return path;
  throw new UsageError('BAD_ARGUMENT', `${path}: a path with quotes or spaces is none for user-mode Linux`);
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
