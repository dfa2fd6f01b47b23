import { resolve } from 'node:path';
import type { Progress } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { lacking } from '../exit-status.ts';
import { debianGuest } from './debian-guest.ts';
import { checkKernel } from './kernel-file.ts';
import type { ImageOptions, MachineImage } from './machine.ts';
import { createNativeMachine } from './native-machine.ts';
import { ownConsoles } from './own-command-line.ts';

/** User-mode Linux and all that it boots. @throws {CommandError} when it is not to be had here. */
export async function readUmlImage(options: ImageOptions, progress: Progress): Promise<MachineImage> {
  const { memory, append, kernel, initrd } = options;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw lacking('user-mode Linux runs on Linux on x86-64 alone; leave --machine uml out');
  }
  const wanted = 'the program `linux` that a kernel build for ARCH=um leaves, for x86-64';
  if (kernel !== undefined) await checkKernel(kernel, wanted, ({ kind }) => kind === 'program');
  const { guest, name } = await filesOf(options, progress);
  const isOwn = kernel !== undefined || initrd !== undefined;
  return {
    name,
    ours: initrd === undefined,
    create: (named, events) =>
      createNativeMachine(named, events, undefined, ({ devices }, onKernelLine) =>
        UmlMachine.start({
          ...{ guest, memory, devices, onKernelLine, append: `noreboot ${append}`.trim() },
          ...(isOwn ? { commandLine: ownConsoles('tty0', options) } : {}),
        }),
      ),
  };
}

/** What is to be booted: what is not the user's is ours, and is fetched then alone. */
async function filesOf(
  { kernel, initrd }: ImageOptions,
  progress: Progress,
): Promise<{
  readonly name: string;
  readonly guest: { readonly linux: string; readonly initrd: string; readonly libc?: string };
}> {
  if (kernel !== undefined && initrd !== undefined)
    return { name: kernel, guest: { linux: resolve(kernel), initrd: resolve(initrd) } };
  const debian = await debianGuest({ machine: 'uml', progress });
  const own = initrd === undefined ? debian.initrd : resolve(initrd);
  if (kernel !== undefined) return { name: kernel, guest: { linux: resolve(kernel), initrd: own } };
  return { name: `Linux ${debian.kernelVersion}`, guest: { ...debian, initrd: own } };
}
