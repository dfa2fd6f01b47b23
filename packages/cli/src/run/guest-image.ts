import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { HostError } from 'virtio/errors';
import { type GuestFiles, guestCommandLine, guestFiles, type Progress } from 'virtio-node/guests';
import { isSystemError, lacking, usage } from '../exit-status.ts';
import { busCommandLine } from './buses.ts';
import type { RunPlan } from './plan.ts';

/** What the machine boots. */
export interface GuestImage {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array;
  /** Equal for equal guests, whatever their command line. */
  readonly id: string;
  /** How to call it. */
  readonly name: string;
  /** False when the initramfs is the user's, whose init may not know our control protocol. */
  readonly ours: boolean;
}

/** A kernel of the user's talks on both: ours sees it die on the first, its init has the terminal as its console. */
const ownCommandLine = 'console=ttyS0 console=hvc0 tsc=reliable mitigations=off random.trust_cpu=on';

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
export async function readGuestImage(plan: RunPlan, progress: Progress): Promise<GuestImage> {
  if (plan.kernel !== undefined && plan.initrd !== undefined)
    return ownImage(plan, plan.kernel, plan.initrd, progress);
  const files = await debianGuest(progress);
  const [kernel, initrd, bios, vgaBios] = await Promise.all([
    plan.kernel === undefined ? readFile(files.bzimage) : readKernel(plan.kernel),
    readFile(plan.initrd ?? files.initrd),
    readFile(files.bios),
    readFile(files.vgaBios),
  ]);
  const own = plan.kernel !== undefined || plan.initrd !== undefined;
  return {
    kernel,
    initrd,
    commandLine: commandLine(own ? ownCommandLine : guestCommandLine, plan),
    bios,
    vgaBios,
    id: own ? idOf(kernel, initrd, bios, vgaBios) : files.id,
    name: plan.kernel ?? `Linux ${files.kernelVersion}`,
    ours: plan.initrd === undefined,
  };
}

async function ownImage(
  plan: RunPlan,
  kernelPath: string,
  initrdPath: string,
  progress: Progress,
): Promise<GuestImage> {
  const kernel = await readKernel(kernelPath);
  const initrd = await readFile(initrdPath);
  const { bios, vgaBios } = (await installedBios()) ?? (await debianBios(progress));
  return {
    kernel,
    initrd,
    commandLine: commandLine(ownCommandLine, plan),
    bios,
    vgaBios,
    id: idOf(kernel, initrd, bios, vgaBios),
    name: kernelPath,
    ours: false,
  };
}

async function debianGuest(progress: Progress): Promise<GuestFiles> {
  try {
    return await guestFiles({ progress });
  } catch (error) {
    // Whatever the guest's files lack, the command line is not to blame.
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

type Bios = Pick<GuestImage, 'bios' | 'vgaBios'>;

async function debianBios(progress: Progress): Promise<Bios> {
  const files = await debianGuest(progress).catch((error: Error) => {
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

/** @throws {CommandError} for what is no bzImage: the emulator would run into nothing. */
async function readKernel(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path);
  const magic = bytes.length > 0x206 ? bytes.toString('latin1', 0x202, 0x206) : '';
  if (magic !== 'HdrS')
    throw usage(`--kernel ${path} is no bzImage; give the file that a boot loader would, for i386`);
  return bytes;
}

function commandLine(base: string, { bus, append }: RunPlan): string {
  return [base, busCommandLine(bus), append].filter((part) => part !== '').join(' ');
}

function idOf(...parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 32);
}
