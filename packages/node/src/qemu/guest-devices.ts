import { UsageError } from 'virtio/errors';
import type { VhostUserDevice } from '../guests/native-guest.ts';

/** A machine of QEMU's that a Linux is booted in. */
export type GuestBoard = 'q35' | 'pc' | 'microvm';

/** What such a machine is started with, and what it can have. */
export interface GuestBoardParts {
  readonly machine: string;
  readonly args: readonly string[];
  /** Serial ports beside the one of the kernel's console. */
  readonly mostPorts: number;
}

export const guestBoards: Readonly<Record<GuestBoard, GuestBoardParts>> = {
  q35: { machine: 'q35', args: [], mostPorts: 3 },
  pc: { machine: 'pc', args: [], mostPorts: 3 },
  microvm: {
    // Its windows show version 1 unless told. SeaBIOS would look for something to boot from on the disks.
    machine: 'microvm,x-option-roms=off',
    args: [
      ...['-bios', 'qboot.rom', '-global', 'virtio-mmio.force-legacy=false'],
      // It has no clock but its processor's, which Linux cannot measure where we get too little of this machine's time.
      ...['-icount', 'shift=2'],
    ],
    mostPorts: 0,
  },
};

/** The last window of the machine with MMIO. It is told of first; the interrupt of window 0 never reaches Linux. */
const lastWindow = 23;

/** Properties of a device, as QEMU's machine protocol and its command line take them. */
export type DeviceProperties = Readonly<Record<string, unknown>>;

/** The arguments that give a machine these devices from the start. */
export function commandLineOf(
  board: GuestBoard,
  devices: readonly VhostUserDevice[],
  functions: readonly string[],
): string[] {
  if (board === 'microvm' && functions.length > 0)
    throw new UsageError('BAD_ARGUMENT', "QEMU's microvm has no PCI, so no functions");
  if (board === 'microvm' && devices.length > lastWindow) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${devices.length} devices: QEMU's microvm has ${lastWindow} windows for them`,
    );
  }
  return [
    ...devices.flatMap((device, index) => {
      const id = `device${index}`;
      // QEMU reads two commas as one that is part of a value.
      const chardev = `socket,id=${id},path=${device.socket.replaceAll(',', ',,')}`;
      const window = board === 'microvm' ? { bus: `virtio-mmio-bus.${lastWindow - index}` } : {};
      return [
        '-chardev',
        chardev,
        ...deviceArgument({ ...vhostUserProperties(board, device, id), ...window }),
      ];
    }),
    ...functions.flatMap((socket) => deviceArgument(functionProperties(socket))),
  ];
}

const deviceArgument = (properties: DeviceProperties): string[] => ['-device', JSON.stringify(properties)];

/** The other end of a device's socket, as QEMU's machine protocol has it. */
export const characterDevice = (path: string): DeviceProperties => ({
  type: 'socket',
  data: { addr: { type: 'unix', data: { path } }, server: false },
});

/** A whole PCI function of somebody else's. */
export const functionProperties = (path: string): DeviceProperties => ({
  driver: 'vfio-user-pci',
  socket: { type: 'unix', path },
});

/** QEMU's front end for a device: it has one of its own for some types, and the general one has to be told what it fronts. */
export function vhostUserProperties(
  board: GuestBoard,
  { id, queues = [128], configLength = 0 }: VhostUserDevice,
  chardev: string,
): DeviceProperties {
  const size = Math.max(...queues);
  const isMmio = board === 'microvm';
  switch (id) {
    case 2:
      return {
        driver: isMmio ? 'vhost-user-blk' : 'vhost-user-blk-pci-non-transitional',
        chardev,
        'num-queues': queues.length,
        // It limits what Linux puts into one request, and the device tells it of its own.
        'queue-size': size,
        packed: true,
      };
    case 4:
      return { driver: isMmio ? 'vhost-user-rng' : 'vhost-user-rng-pci', chardev };
    default:
      return {
        driver: isMmio ? 'vhost-user-test-device' : 'vhost-user-test-device-pci',
        chardev,
        'virtio-id': id,
        num_vqs: queues.length,
        vq_size: size,
        config_size: configLength,
      };
  }
}
