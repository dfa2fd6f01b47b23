import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { guestCommandLine, type Progress } from 'virtio-node/guests';
import { lacking } from '../exit-status.ts';
import { type RunBus, runBuses } from './buses.ts';
import { debianGuest } from './debian-guest.ts';
import { checkKernel, type KernelKind } from './kernel-file.ts';
import type { ImageOptions, MachineImage } from './machine.ts';
import { ownCommandLine } from './own-command-line.ts';
import { stateKey } from './state-key.ts';
import { busCommandLine } from './v86-buses.ts';
import { createV86Machine, v86Version } from './v86-machine.ts';

/** What v86 boots. */
interface BootFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
  /** Equal for equal guests, whatever their command line. */
  readonly id: string;
  readonly name: string;
  readonly ours: boolean;
}

/** Where other packages leave a BIOS, for machines without apt. */
const biosFolders = [
  '/usr/share/seabios',
  '/usr/share/qemu',
  '/usr/local/share/qemu',
  '/opt/homebrew/share/qemu',
];

/**
 * Gets all that is to be booted: our Debian guest from the cache, or the user's own files.
 *
 * @throws {CommandError} when something is not to be had here.
 */
export async function readV86Image(options: ImageOptions, progress: Progress): Promise<MachineImage> {
  const { kernel, bus = runBuses[0] } = options;
  const isFit = ({ kind, bits }: KernelKind): boolean => kind === 'bzimage' && bits === 32;
  if (kernel !== undefined) await checkKernel(kernel, 'a bzImage for i386', isFit);
  const files = await bootFiles(options, bus, progress);
  const parts = { ...files, bus, memory: options.memory, firmware: files };
  return {
    name: files.name,
    ours: files.ours,
    create: (devices, events) => createV86Machine(parts, devices, events),
    stateKey: (devices) =>
      stateKey({
        emulator: `v86 ${v86Version()}`,
        guest: files.id,
        commandLine: files.commandLine,
        bus: bus.name,
        memory: options.memory,
        devices,
      }),
  };
}

async function bootFiles(options: ImageOptions, bus: RunBus, progress: Progress): Promise<BootFiles> {
  if (options.kernel !== undefined && options.initrd !== undefined)
    return ownFiles(options, bus, options.kernel, options.initrd, progress);
  const files = await debianGuest({ progress });
  const [kernel, initrd, bios, vgaBios] = await Promise.all([
    readFile(options.kernel ?? files.bzimage),
    readFile(options.initrd ?? files.initrd),
    readFile(files.bios),
    readFile(files.vgaBios),
  ]);
  const own = options.kernel !== undefined || options.initrd !== undefined;
  return {
    kernel,
    initrd,
    commandLine: commandLine(own ? ownCommandLine(options) : guestCommandLine, bus, options),
    bios,
    vgaBios,
    id: own ? idOf(kernel, initrd, bios, vgaBios) : files.id,
    name: options.kernel ?? `Linux ${files.kernelVersion}`,
    ours: options.initrd === undefined,
  };
}

async function ownFiles(
  options: ImageOptions,
  bus: RunBus,
  kernelPath: string,
  initrdPath: string,
  progress: Progress,
): Promise<BootFiles> {
  const kernel = await readFile(kernelPath);
  const initrd = await readFile(initrdPath);
  const { bios, vgaBios } = (await installedBios()) ?? (await debianBios(progress));
  return {
    kernel,
    initrd,
    commandLine: commandLine(ownCommandLine(options), bus, options),
    bios,
    vgaBios,
    id: idOf(kernel, initrd, bios, vgaBios),
    name: kernelPath,
    ours: false,
  };
}

type Bios = Pick<BootFiles, 'bios' | 'vgaBios'>;

async function debianBios(progress: Progress): Promise<Bios> {
  const files = await debianGuest({ progress }).catch((error: Error) => {
    throw lacking(
      `no BIOS was found in ${biosFolders[0]}, and none could be fetched: install seabios or QEMU (${error.message})`,
      error,
    );
  });
  return { bios: await readFile(files.bios), vgaBios: await readFile(files.vgaBios) };
}

async function installedBios(): Promise<Bios | undefined> {
  for (const folder of biosFolders) {
    try {
      const [bios, vgaBios] = await Promise.all([
        readFile(`${folder}/bios.bin`),
        readFile(`${folder}/vgabios-stdvga.bin`),
      ]);
      return { bios, vgaBios };
    } catch {}
  }
  return undefined;
}

function commandLine(base: string, bus: RunBus, { append }: ImageOptions): string {
  return [base, busCommandLine(bus), append].filter((part) => part !== '').join(' ');
}

function idOf(...parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 32);
}
