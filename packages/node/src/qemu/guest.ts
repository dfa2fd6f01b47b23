import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HostError, UsageError } from 'virtio/errors';
import type { GuardedChild } from '../guests/guarded-child.ts';
import type { GuestFiles } from '../guests/guest-files.ts';
import { NativeGuest, type NativeGuestOptions, type VhostUserDevice } from '../guests/native-guest.ts';
import type { Tool } from '../guests/tools.ts';
import {
  characterDevice,
  commandLineOf,
  functionProperties,
  type GuestBoard,
  guestBoards,
  vhostUserProperties,
} from './guest-devices.ts';
import { Qmp } from './qmp.ts';

/** What a machine of QEMU's with a Linux in it is to be. */
export interface QemuGuestOptions extends NativeGuestOptions {
  /** QEMU, as `ensureTool` answers it. */
  readonly tool: Tool;
  /** Kernel and initramfs, as `guestFiles` makes them. */
  readonly guest: Pick<GuestFiles<'qemu'>, 'bzimage' | 'initrd'>;
  /** What QEMU is to be; `q35` unless told. Only `pc` has devices plugged into it later; `microvm` has them on MMIO. */
  readonly board?: GuestBoard;
  /** Sockets of vfio-user servers, each of which is a whole PCI function; behind `devices`. */
  readonly functions?: readonly string[];
  /** A file that `save` wrote, of a machine that was the same but for its devices. It goes on with `resume`. */
  readonly state?: string;
  /** QEMU's own arguments beside those for `devices`. */
  readonly args?: readonly string[];
}

/**
 * What our guest in QEMU wants on its kernel's command line. The kernel's own messages go to the first serial port; the rest
 * leaves out work that takes an emulated processor long.
 */
const ownCommandLine =
  'console=ttyS0 quiet tsc=reliable mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests';

/** Milliseconds between two looks at what QEMU is doing. */
const pause = 10;

/** Linux in a machine of QEMU's, whose memory other processes can map. Its first serial port is `/dev/ttyS1`. */
export class QemuGuest extends NativeGuest {
  /** QEMU's machine protocol. */
  readonly qmp: Qmp;
  readonly #board: GuestBoard;
  #plugged = 0;

  private constructor(child: GuardedChild, options: QemuGuestOptions, qmp: Qmp) {
    super(child, options);
    this.qmp = qmp;
    this.#board = options.board ?? 'q35';
  }

  /**
   * Starts QEMU; the guest has still to boot. With a `state` it stands still where that was saved.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start, or takes no such state.
   * @throws {UsageError} BAD_ARGUMENT for more serial ports, or other devices, than the machine can have.
   */
  static async start(options: QemuGuestOptions): Promise<QemuGuest> {
    const { tool, guest, memory = 256, devices = [], functions = [], ports = 0, args = [] } = options;
    const { board = 'q35', commandLine = ownCommandLine, state } = options;
    const { machine, mostPorts } = guestBoards[board];
    if (ports > mostPorts) {
      throw new UsageError('BAD_ARGUMENT', `${ports} serial ports: QEMU's ${board} has ${mostPorts} to give`);
    }
    const shared = `memory-backend-memfd,id=memory,size=${memory}M,share=on`;
    const append = [commandLine, ...(options.append === undefined ? [] : [options.append])].join(' ');
    const firmware = ['qemu', 'seabios'].flatMap((name) => ['-L', join(tool.folder, '..', 'share', name)]);
    const child = await NativeGuest.startChild(
      tool.file,
      [
        ...['-machine', `${machine},memory-backend=memory`, '-m', `${memory}M`, '-object', shared],
        ...['-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none'],
        // Distributions compile in where QEMU's own firmware is; it may be beside QEMU instead.
        ...firmware,
        ...guestBoards[board].args,
        ...['-kernel', guest.bzimage, '-initrd', options.initrd ?? guest.initrd, '-append', append],
        ...['-chardev', 'stdio,id=kernel,signal=off', '-serial', 'chardev:kernel'],
        ...Array.from({ length: ports }, (_, index) => serialPort(index, 3 + index)).flat(),
        ...['-chardev', `socket,id=qmp,fd=${3 + ports}`, '-mon', 'chardev=qmp,mode=control'],
        ...commandLineOf(board, devices, functions),
        ...(state === undefined ? [] : ['-incoming', 'defer']),
        ...args,
      ],
      { name: 'QEMU', environment: tool.environment, sockets: ports + 1 },
    );
    try {
      const qmp = await Qmp.start(child.socket(ports), () => child.ended);
      if (state !== undefined) await restore(qmp, state);
      return new QemuGuest(child, options, qmp);
    } catch (cause) {
      const error = await child.kill();
      throw new HostError('GUEST_FAILED', error.message, { cause });
    }
  }

  /**
   * Plugs devices into a running machine of the board `pc`, one slot after the other.
   *
   * @throws {HostError} IO_ERROR with QEMU's words when it takes none of them.
   */
  async plug(devices: readonly VhostUserDevice[], functions: readonly string[] = []): Promise<void> {
    for (const device of devices) {
      const id = `plugged${this.#plugged++}`;
      await this.qmp.execute('chardev-add', { id, backend: characterDevice(device.socket) });
      await this.qmp.execute('device_add', vhostUserProperties(this.#board, device, id));
    }
    for (const socket of functions) await this.qmp.execute('device_add', functionProperties(socket));
  }

  /**
   * Writes the machine's state to a file, and lets it go on. QEMU has such states of machines without devices of others
   * alone: not of the general front end of vhost-user, nor of vfio-user.
   *
   * @throws {HostError} IO_ERROR with QEMU's words when it cannot.
   */
  async save(path: string): Promise<void> {
    await this.qmp.execute('stop');
    await this.qmp.execute('migrate', { channels: [fileChannel(path)] });
    for (;;) {
      const { status, 'error-desc': why } = objectOf(await this.qmp.execute('query-migrate'));
      if (status === 'completed') break;
      if (status === 'failed' || status === 'cancelled')
        throw new HostError('IO_ERROR', `QEMU could not save its state: ${why ?? status}`);
      await delay(pause);
    }
    await this.resume();
  }

  /** Lets a machine go on that stands still. */
  async resume(): Promise<void> {
    await this.qmp.execute('cont');
  }
}

/** Takes a state in; QEMU ends when it cannot. */
async function restore(qmp: Qmp, path: string): Promise<void> {
  await qmp.execute('migrate-incoming', { channels: [fileChannel(path)] });
  while (objectOf(await qmp.execute('query-status')).status === 'inmigrate') await delay(pause);
}

const fileChannel = (filename: string): Readonly<Record<string, unknown>> => ({
  'channel-type': 'main',
  addr: { transport: 'file', filename, offset: 0 },
});

function serialPort(index: number, fd: number): string[] {
  return ['-chardev', `socket,id=port${index},fd=${fd}`, '-serial', `chardev:port${index}`];
}

/** What QEMU answered, to be looked at field by field. */
function objectOf(answer: unknown): Readonly<Record<string, unknown>> {
  return typeof answer === 'object' && answer !== null ? Object.fromEntries(Object.entries(answer)) : {};
}
