import { statSync } from 'node:fs';
import { ensureTool, type Progress } from 'virtio-node/guests';
import { type GuestBoard, QemuGuest } from 'virtio-node/qemu';
import type { PciInterface } from '../lend/interfaces.ts';
import { type BusName, runBuses } from './buses.ts';
import { debianGuest, fetched } from './debian-guest.ts';
import { checkKernel } from './kernel-file.ts';
import type { ImageOptions, MachineImage } from './machine.ts';
import { createNativeMachine, type NativeParts, type StartNative } from './native-machine.ts';
import { ownCommandLine } from './own-command-line.ts';
import { createPluggedMachine } from './plugged-machine.ts';
import { stateKey } from './state-key.ts';

/** Where devices are, in which machine of QEMU's, and how they are lent to it. */
interface QemuBus {
  readonly board: GuestBoard;
  /** As whole PCI functions for these drivers; behind front ends of QEMU's unless told. */
  readonly pci?: PciInterface;
  /** Put on the kernel's command line, for our guest to look there. */
  readonly append?: string;
}

const buses: Readonly<Partial<Record<BusName, QemuBus>>> = {
  pci: { board: 'pc' },
  'pci-transitional': { board: 'pc', pci: 'transitional' },
  'pci-legacy': { board: 'pc', pci: 'legacy' },
  mmio: { board: 'microvm', append: 'virtio_modules=virtio_mmio' },
};

/** QEMU and all that it boots. @throws {CommandError} when it is not to be had here. */
export async function readQemuImage(options: ImageOptions, progress: Progress): Promise<MachineImage> {
  const { memory, kernel, initrd, bus = runBuses[0] } = options;
  const { board, pci, append: busAppend } = buses[bus.name] ?? { board: 'pc' };
  if (kernel !== undefined)
    await checkKernel(kernel, 'a bzImage, for x86-64 or i386', ({ kind }) => kind === 'bzimage');
  const tool = await fetched(() => ensureTool('qemu-11', { progress }));
  const { guest, name, id } = await filesOf(options, progress);
  const isOwn = kernel !== undefined || initrd !== undefined;
  const append = [busAppend ?? '', options.append].filter((words) => words !== '').join(' ');
  const start = (parts: NativeParts, onKernelLine: (line: string) => void, state?: string) =>
    QemuGuest.start({
      ...{ tool, guest, memory, board, onKernelLine, append, ...parts, args: ['-no-reboot'] },
      ...(isOwn ? { commandLine: ownCommandLine(options) } : {}),
      ...(state === undefined ? {} : { state }),
    });
  const image = { name, ours: initrd === undefined };
  // Whether a kernel of the user's takes devices later, nobody knows.
  if (isOwn || board !== 'pc') {
    const whole: StartNative = (parts, onKernelLine) => start(parts, onKernelLine);
    return { ...image, create: (named, events) => createNativeMachine(named, events, pci, whole) };
  }
  return {
    ...image,
    create: (named, events) => createPluggedMachine(named, events, pci, start),
    stateKey: () =>
      stateKey({
        emulator: `QEMU ${fingerprint(tool.file)}`,
        guest: id,
        commandLine: append,
        // It is saved before there are any: one state goes for all buses and devices.
        bus: 'pc',
        devices: [],
        memory,
      }),
  };
}

/** What is to be booted: what is not the user's is ours, and is fetched then alone. */
async function filesOf(
  { kernel, initrd }: ImageOptions,
  progress: Progress,
): Promise<{
  readonly name: string;
  readonly guest: { readonly bzimage: string; readonly initrd: string };
  readonly id: string;
}> {
  if (kernel !== undefined && initrd !== undefined)
    return { name: kernel, guest: { bzimage: kernel, initrd }, id: '' };
  const debian = await debianGuest({ machine: 'qemu', progress });
  return {
    name: kernel ?? `Linux ${debian.kernelVersion}`,
    guest: { bzimage: kernel ?? debian.bzimage, initrd: initrd ?? debian.initrd },
    id: debian.id,
  };
}

/** Other than that of any other QEMU. */
function fingerprint(file: string): string {
  const { size, mtimeMs } = statSync(file);
  return `${size} ${mtimeMs}`;
}
