import { execFile } from 'node:child_process';
import { access, constants, readdir, stat, statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { freemem, totalmem } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheFolder } from 'virtio-node/guests';
import { hasUring } from 'virtio-node/storage';
import { formatBytes } from '../format-bytes.ts';
import { versionOf } from '../version.ts';
import type { Check } from './findings.ts';
import { hostChecks } from './host-checks.ts';

const mebibyte = 2 ** 20;
const oldestNode = [20, 19] as const;
/** What the machine and the emulator around it take, with 256 MiB for the guest. */
const memoryWanted = 512 * mebibyte;
/** The packages, the guest made of them, and a few saved states. */
const roomWanted = 600 * mebibyte;

/** Every check, in the order in which a user would care. */
export const checks: readonly (() => Promise<Check>)[] = [
  checkNode,
  checkMemory,
  checkV86,
  checkGuest,
  checkCache,
  checkKoffi,
  ...hostChecks,
  checkUring,
  checkUml,
  checkQemu,
  checkChromium,
];

async function checkNode(): Promise<Check> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fits = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const found = `${process.version} on ${process.platform} ${process.arch}`;
  if (fits) return { name: 'node', state: 'ok', found };
  return {
    name: 'node',
    state: 'lacking',
    found,
    advice: `install Node.js ${oldestNode.join('.')} or later`,
  };
}

async function checkMemory(): Promise<Check> {
  const available = availableMemory();
  const found = `${formatBytes(available)} of ${formatBytes(totalmem())} free`;
  if (available >= memoryWanted) return { name: 'memory', state: 'ok', found };
  return {
    name: 'memory',
    state: 'lacking',
    found,
    advice: `free ${formatBytes(memoryWanted)}, or run with --memory 128`,
  };
}

/** What can still be had, where the engine knows it; it does since Node 20.13. */
function availableMemory(): number {
  return process.availableMemory?.() ?? freemem();
}

async function checkV86(): Promise<Check> {
  const version = versionOf(new URL('../package.json', import.meta.resolve('v86')));
  if (version !== undefined) return { name: 'v86', state: 'ok', found: version };
  return { name: 'v86', state: 'lacking', found: 'not installed', advice: 'npm install' };
}

/** The guest of `virtio run` is in the cache, or there is what fetches it. */
async function checkGuest(): Promise<Check> {
  const tools = ['apt-get', 'apt-cache', 'dpkg-deb', 'flock'];
  const missing: string[] = [];
  for (const tool of tools) if ((await programPath(tool)) === undefined) missing.push(tool);
  const [built] = await builtGuests('v86');
  if (built !== undefined) return { name: 'guest', state: 'ok', found: built };
  if (missing.length === 0) {
    return {
      name: 'guest',
      state: 'ok',
      found: 'not built yet; the first run fetches it with apt, without root',
    };
  }
  return {
    name: 'guest',
    state: 'lacking',
    found: `not built, and no ${missing.join(', ')} to fetch it`,
    advice: 'use a Debian or Ubuntu machine, or hand over your own: virtio run --kernel FILE --initrd FILE',
  };
}

/** Those for one machine; each version of ours has left its own. */
async function builtGuests(machine: string): Promise<string[]> {
  const folder = join(cacheFolder(), 'guests');
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.startsWith(`${machine}-`));
}

async function checkCache(): Promise<Check> {
  const folder = cacheFolder();
  const name = 'cache';
  try {
    const parent = await nearestFolder(folder);
    await access(parent, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(parent);
    const used = await sizeOf(folder);
    const found = `${folder}, ${formatBytes(used)} used, ${formatBytes(bavail * bsize)} free`;
    if (used + bavail * bsize >= roomWanted) return { name, state: 'ok', found };
    return {
      name,
      state: 'lacking',
      found,
      advice: `make ${formatBytes(roomWanted)} of room, or set VIRTIO_CACHE to another folder`,
    };
  } catch {
    return {
      name,
      state: 'lacking',
      found: `${folder} cannot be written`,
      advice: 'set VIRTIO_CACHE to a folder of yours',
    };
  }
}

async function nearestFolder(path: string): Promise<string> {
  const there = await stat(path).catch(() => undefined);
  return there?.isDirectory() === true ? path : nearestFolder(dirname(path));
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let total = 0;
  for (const entry of entries) {
    if (entry.isFile())
      total += (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0;
  }
  return total;
}

async function checkKoffi(): Promise<Check> {
  const name = 'koffi';
  const { resolve } = createRequire(import.meta.resolve('virtio-node/storage'));
  try {
    const file = resolve('koffi');
    await import(pathToFileURL(file).href);
    return { name, state: 'ok', found: versionOf(new URL('package.json', pathToFileURL(file))) ?? 'loads' };
  } catch {
    return {
      name,
      state: 'optional',
      found: 'does not load',
      advice: 'npm install; without it --disk cannot lock its file, and refuses',
    };
  }
}

/** What `--direct` moves bytes of files by. */
async function checkUring(): Promise<Check> {
  const name = 'io_uring';
  // Where koffi does not load, there is nothing to ask with.
  const found = await Promise.resolve()
    .then(hasUring)
    .catch(() => false);
  if (found) return { name, state: 'ok', found: 'files that go past the page cache use it' };
  return {
    name,
    state: 'optional',
    found: 'none to be had: files go through threads instead, which is slower',
    advice:
      'use Linux 5.5 or later; sysctl kernel.io_uring_disabled and the rules of containers switch it off',
  };
}

/** A guest that is a process of this machine; it is a program for one processor. */
async function checkUml(): Promise<Check> {
  const name = 'uml';
  const here = `${process.platform} ${process.arch}`;
  if (here !== 'linux x64') {
    return {
      name,
      state: 'optional',
      found: `there is none for ${here}`,
      advice: 'user-mode Linux wants Linux on x86-64',
    };
  }
  const [built] = await builtGuests('uml');
  return { name, state: 'ok', found: built ?? 'not built yet; its first use fetches 40 MB' };
}

async function checkQemu(): Promise<Check> {
  const name = 'qemu';
  const kept = join(cacheFolder(), 'tools', 'qemu-11', 'usr', 'bin', 'qemu-system-x86_64');
  if (await isProgram(kept)) return { name, state: 'ok', found: 'QEMU 11 in the cache' };
  const installed = (await programPath('qemu-system-x86_64')) ?? 'not installed';
  return { name, state: 'ok', found: `${installed}; unless it is version 11, its first use fetches 28 MB` };
}

async function checkChromium(): Promise<Check> {
  const name = 'chromium';
  for (const program of ['chromium', 'chromium-browser', 'google-chrome']) {
    const path = await programPath(program);
    if (path === undefined) continue;
    const { stdout } = await promisify(execFile)(path, ['--version']).catch(() => ({ stdout: path }));
    return { name, state: 'ok', found: stdout.trim() };
  }
  return {
    name,
    state: 'optional',
    found: 'not installed',
    advice: 'the tests of the page fetch it with apt; any browser shows the page',
  };
}

async function programPath(program: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = join(folder, program);
    if (await isProgram(path)) return path;
  }
  return undefined;
}

function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
