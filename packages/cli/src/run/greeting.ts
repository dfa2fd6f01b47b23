import { formatBytes } from '../format-bytes.ts';
import { bold } from '../output.ts';

/** A disk as the user should know it. */
export interface GreetedDisk {
  readonly path: string | undefined;
  readonly size: number;
  readonly readOnly: boolean;
}

/** A folder of this machine as the user should know it. */
export interface GreetedShare {
  readonly folder: string;
  readonly tag: string;
  readonly readOnly: boolean;
}

/** A machine as the user should know it. */
export interface GreetedMachine {
  readonly guest: string;
  readonly bus: string;
  readonly hasEntropy: boolean;
  readonly disks: readonly GreetedDisk[];
  /** Where its sockets are on this machine. */
  readonly sockets: string | undefined;
  readonly shares: readonly GreetedShare[];
  /** Its networks, and what there is to know of each. */
  readonly networks: readonly (readonly string[])[];
}

/** The lines above the first prompt: what is attached, and what to try. */
export function greeting(
  { guest, bus, hasEntropy, disks, sockets, shares, networks }: GreetedMachine,
  colour: boolean,
): string[] {
  const writable = disks.findIndex(({ readOnly }) => !readOnly);
  const tries: readonly string[] = [
    'ls /sys/bus/virtio/drivers/*',
    ...(hasEntropy ? ['head -c 16 /dev/hwrng | xxd'] : []),
    ...(writable === -1
      ? []
      : [`mke2fs ${nodeOf(writable)} && mkdir /disk && mount ${nodeOf(writable)} /disk`]),
  ];
  return [
    bold(`${guest} on virtio devices written in TypeScript`, colour),
    `  bus      ${bus}`,
    '  console  /dev/hvc0   this terminal',
    ...(hasEntropy ? ['  entropy  /dev/hwrng'] : []),
    ...disks.map((disk, index) => `  disk     ${nodeOf(index)}    ${words(disk)}`),
    ...(sockets === undefined ? [] : [`  sockets  /dev/vsock  ${sockets}, CONNECT and a port`]),
    ...shares.map(
      ({ tag, folder, readOnly }) =>
        `  folder   ${`/mnt/${tag}`.padEnd(12)}${folder}${readOnly ? ' (read-only)' : ''}`,
    ),
    ...networks.flatMap((lines, index) =>
      lines.map((line, at) =>
        at === 0 ? `  network  ${`eth${index}`.padEnd(12)}${line}` : `${' '.repeat(23)}${line}`,
      ),
    ),
    ...tries.map((command, index) => `  ${index === 0 ? 'try' : '   '}      ${command}`),
    `${bold('Ctrl-A x', colour)} leaves, Ctrl-A h helps.`,
  ];
}

function words({ path, size, readOnly }: GreetedDisk): string {
  const what = path ?? 'scratch disk in memory, gone when you leave';
  return `${what} (${formatBytes(size)}${readOnly ? ', read-only' : ''})`;
}

/** How Linux calls the disk at this place. */
export function nodeOf(index: number): string {
  return `/dev/vd${String.fromCharCode(0x61 + index)}`;
}
