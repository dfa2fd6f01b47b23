import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { offeredNames } from 'virtio/device';
import { packageVersion } from '../version.ts';
import type { StateKey } from './saved-states.ts';
import type { NamedDevice } from './trace-writer.ts';

/** Raise it when a state that this code wrote earlier must not be used any more for a reason no other part of the key holds. */
const format = 1;

/** What a saved machine is, beside our own code. */
export interface SavedParts {
  /** Its name and version. */
  readonly emulator: string;
  /** Equal for equal kernels and initramfs. */
  readonly guest: string;
  readonly commandLine: string;
  readonly bus: string;
  /** MiB. */
  readonly memory: number;
  /** Those that are in it. */
  readonly devices: readonly NamedDevice[];
}

/**
 * All that a machine's state after boot depends on. A disk's size and bytes are not among it: the guest has not
 * looked at a disk by then, and a restored disk takes its size from its storage.
 */
export function stateKey({ devices, ...parts }: SavedParts): StateKey {
  return {
    format,
    version: packageVersion,
    code: codeFingerprint(),
    ...parts,
    devices: devices.map(({ name, device }) => `${name} ${device.type.id} ${offeredNames(device).join(' ')}`),
  };
}

/** Changes whenever our packages are built anew with other code: a saved device belongs to the code that saved it. */
function codeFingerprint(): string {
  const hash = createHash('sha256');
  for (const module of ['virtio/device', 'virtio-v86', 'virtio-node/guests']) {
    const folder = packageCode(fileURLToPath(import.meta.resolve(module)));
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
      if (!/\.[jt]s$/.test(name)) continue;
      const { size, mtimeMs } = statSync(join(folder, name));
      hash.update(`${name} ${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** The `dist` or `src` that a module is in. */
function packageCode(file: string): string {
  const folder = dirname(file);
  return /(?:^|[\\/])(?:dist|src)$/.test(folder) || folder === dirname(folder) ? folder : packageCode(folder);
}
