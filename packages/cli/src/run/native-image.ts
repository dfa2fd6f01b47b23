import { ensureTool, type Progress } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { UmlMachine } from 'virtio-node/uml';
import { lacking } from '../exit-status.ts';
import { debianGuest, fetched } from './debian-guest.ts';
import type { ImageOptions, MachineImage } from './machine.ts';
import { createNativeMachine } from './native-machine.ts';

/** User-mode Linux and all that it boots. @throws {CommandError} when it is not to be had here. */
export async function readUmlImage(
  { memory, append }: ImageOptions,
  progress: Progress,
): Promise<MachineImage> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw lacking('user-mode Linux runs on Linux on x86-64 alone; leave --machine uml out');
  }
  const guest = await debianGuest({ machine: 'uml', progress });
  return {
    name: `Linux ${guest.kernelVersion}`,
    ours: true,
    create: (named, events) =>
      createNativeMachine(named, events, (devices, onKernelLine) =>
        UmlMachine.start({ guest, memory, devices, onKernelLine, append: `noreboot ${append}`.trim() }),
      ),
  };
}

/** QEMU and all that it boots. @throws {CommandError} when it is not to be had here. */
export async function readQemuImage(
  { memory, append }: ImageOptions,
  progress: Progress,
): Promise<MachineImage> {
  const tool = await fetched(() => ensureTool('qemu-11', { progress }));
  const guest = await debianGuest({ machine: 'qemu', progress });
  return {
    name: `Linux ${guest.kernelVersion}`,
    ours: true,
    create: (named, events) =>
      createNativeMachine(named, events, (devices, onKernelLine) =>
        QemuGuest.start({ tool, guest, memory, devices, onKernelLine, append, args: ['-no-reboot'] }),
      ),
  };
}
