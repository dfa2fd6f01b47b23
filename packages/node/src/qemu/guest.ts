import { join } from 'node:path';
import { HostError, UsageError } from 'virtio/errors';
import type { GuardedChild } from '../guests/guarded-child.ts';
import type { GuestFiles } from '../guests/guest-files.ts';
import { NativeGuest, type NativeGuestOptions, type VhostUserDevice } from '../guests/native-guest.ts';
import type { Tool } from '../guests/tools.ts';
import { Qmp } from './qmp.ts';

/** What a machine of QEMU's with a Linux in it is to be. */
export interface QemuGuestOptions extends NativeGuestOptions {
  /** QEMU, as `ensureTool` answers it. */
  readonly tool: Tool;
  /** Kernel and initramfs, as `guestFiles` makes them. */
  readonly guest: GuestFiles<'qemu'>;
  /** QEMU's own arguments beside those for `devices`. */
  readonly args?: readonly string[];
}

/** The machine has four serial ports, and the kernel's console is on the first. */
const mostPorts = 3;

/**
 * What our guest in QEMU wants on its kernel's command line. The kernel's own messages go to the first serial port; the rest
 * leaves out work that takes an emulated processor long.
 */
const commandLine =
  'console=ttyS0 quiet tsc=reliable mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests';

/** Linux in a machine of QEMU's, whose memory other processes can map. Its first serial port is `/dev/ttyS1`. */
export class QemuGuest extends NativeGuest {
  /** QEMU's machine protocol. */
  readonly qmp: Qmp;

  private constructor(child: GuardedChild, options: QemuGuestOptions, qmp: Qmp) {
    super(child, options);
    this.qmp = qmp;
  }

  /**
   * Starts QEMU; the guest has still to boot.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start.
   * @throws {UsageError} BAD_ARGUMENT for more serial ports than there are.
   */
  static async start(options: QemuGuestOptions): Promise<QemuGuest> {
    const { tool, guest, memory = 256, devices = [], ports = 0, args = [] } = options;
    if (ports > mostPorts) {
      throw new UsageError('BAD_ARGUMENT', `${ports} serial ports: QEMU's machine has ${mostPorts} to give`);
    }
    const shared = `memory-backend-memfd,id=memory,size=${memory}M,share=on`;
    const append = [commandLine, ...(options.append === undefined ? [] : [options.append])].join(' ');
    const firmware = ['qemu', 'seabios'].flatMap((name) => ['-L', join(tool.folder, '..', 'share', name)]);
    const child = await NativeGuest.startChild(
      tool.file,
      [
        ...['-machine', 'q35,memory-backend=memory', '-m', `${memory}M`, '-object', shared],
        ...['-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none'],
        // Distributions compile in where QEMU's own firmware is; it may be beside QEMU instead.
        ...firmware,
        ...['-kernel', guest.bzimage, '-initrd', options.initrd ?? guest.initrd, '-append', append],
        ...['-chardev', 'stdio,id=kernel,signal=off', '-serial', 'chardev:kernel'],
        ...Array.from({ length: ports }, (_, index) => serialPort(index, 3 + index)).flat(),
        ...['-chardev', `socket,id=qmp,fd=${3 + ports}`, '-mon', 'chardev=qmp,mode=control'],
        ...devices.flatMap(vhostUserArguments),
        ...args,
      ],
      { name: 'QEMU', environment: tool.environment, sockets: ports + 1 },
    );
    try {
      return new QemuGuest(child, options, await Qmp.start(child.socket(ports), () => child.ended));
    } catch (cause) {
      const error = await child.kill();
      throw new HostError('GUEST_FAILED', error.message, { cause });
    }
  }
}

function serialPort(index: number, fd: number): string[] {
  return ['-chardev', `socket,id=port${index},fd=${fd}`, '-serial', `chardev:port${index}`];
}

/** QEMU has a front end of its own for some types of devices; the general one has to be told what it fronts. */
const frontEnds = new Map<number, (queues: readonly number[]) => string>([
  // The size limits what Linux puts into one request, and the device tells it of its own.
  [
    2,
    (queues) => `vhost-user-blk-pci,num-queues=${queues.length},packed=on,queue-size=${Math.max(...queues)}`,
  ],
  [4, () => 'vhost-user-rng-pci'],
]);

function vhostUserArguments(device: VhostUserDevice, index: number): string[] {
  const { id, socket, queues = [128], configLength = 0 } = device;
  const front =
    frontEnds.get(id)?.(queues) ??
    `vhost-user-test-device-pci,virtio-id=${id},num_vqs=${queues.length},vq_size=${Math.max(...queues)},config_size=${configLength}`;
  const chardev = `device${index}`;
  // QEMU reads two commas as one that is part of a value.
  const path = socket.replaceAll(',', ',,');
  return ['-chardev', `socket,id=${chardev},path=${path}`, '-device', `${front},chardev=${chardev}`];
}
