import { constants, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { type ImageFormat, imageFormat, isNbdUri } from 'virtio-node/storage';
import { usage } from '../exit-status.ts';
import { type NetPlan, parseNets } from '../network/plan.ts';
import { parseShares, type SharePlan } from '../share/plan.ts';
import { wholeNumber } from '../whole-number.ts';
import type { RunArguments } from './arguments.ts';
import { type RunBus, runBuses } from './buses.ts';
import type { ImageOptions } from './machine.ts';
import { type RunMachine, runMachines } from './machines.ts';

/** A disk that was asked for, and may be opened. */
export interface DiskPlan {
  /** Of a file; or the URI of an export. */
  readonly path: string;
  readonly readOnly: boolean;
  /** What the user said; the name of the file decides otherwise. */
  readonly format: ImageFormat | undefined;
}

/** What to run, checked as far as it can be without changing anything. */
export interface RunPlan extends ImageOptions {
  readonly machine: RunMachine;
  readonly disks: readonly DiskPlan[];
  readonly shares: readonly SharePlan[];
  /** Where the guest's ports are as Unix sockets. */
  readonly vsock: string | undefined;
  /** Network devices, in the order in which they stand on the bus. */
  readonly nets: readonly NetPlan[];
  /** Where all their frames are written to. */
  readonly capture: string | undefined;
  readonly exec: string | undefined;
  readonly fresh: boolean;
  readonly trace: string | undefined;
  readonly json: boolean;
}

const sector = 512;
/** PCI slots 16 to 31 hold them, our two other devices, and two of the emulator; one fewer with sockets, and with each network. */
const mostDisks = 12;

/**
 * Checks the options of `virtio run`. Nothing is opened for writing and nothing is made.
 *
 * @throws {CommandError} that names the first mistake.
 */
export async function planRun(args: RunArguments): Promise<RunPlan> {
  const machine = parseMachine(args.machine);
  const bus = busOf(machine, args.bus);
  const memory = parseMemory(args.memory, machine);
  if (args.vsock !== undefined && bus !== undefined && !bus.hasYoungTypes)
    throw usage(`--vsock does not go with --bus ${bus.name}: sockets are younger than the legacy interface`);
  if (args.exec !== undefined && args.exec.trim() === '') throw usage('--exec needs a command');
  const nets = parseNets(args.net.length === 0 ? ['user'] : args.net);
  if (args.capture !== undefined && nets.length === 0)
    throw usage('--capture has nothing to write with --net none; leave one of the two out');
  const fit = mostDisks - nets.length - (args.vsock === undefined ? 0 : 1);
  if (fit < 0) throw usage(`--net was given ${nets.length} times; ${nets.length + fit} networks fit`);
  if (args.disk.length > fit) throw usage(`--disk was given ${args.disk.length} times; ${fit} disks fit`);
  const shares = planShares(args.share, bus, fit - Math.max(1, args.disk.length));
  const disks = args.disk.map(parseDisk);
  const used = new Map<string, string>();
  for (const [option, path] of [
    ['--kernel', args.kernel],
    ['--initrd', args.initrd],
  ] as const) {
    if (path !== undefined) used.set(identity(await checkFile(option, path)), `${option} ${path}`);
  }
  for (const disk of disks) {
    const id = isNbdUri(disk.path) ? checkExport(disk) : identity(await checkDisk(disk));
    const other = used.get(id);
    if (other !== undefined)
      throw usage(`--disk ${disk.path} is the same file as ${other}; give each file once`);
    used.set(id, `--disk ${disk.path}`);
  }
  if (args.trace !== undefined)
    used.set(await checkWritten('--trace', args.trace, used), `--trace ${args.trace}`);
  if (args.capture !== undefined) await checkWritten('--capture', args.capture, used);
  return {
    machine,
    bus,
    disks,
    shares,
    vsock: args.vsock,
    nets,
    capture: args.capture,
    memory,
    exec: args.exec,
    kernel: args.kernel,
    initrd: args.initrd,
    append: args.append ?? '',
    fresh: args.fresh,
    trace: args.trace,
    json: args.json,
  };
}

/** @param room devices that fit beside the others */
function planShares(texts: readonly string[], bus: RunBus | undefined, room: number): SharePlan[] {
  const shares = parseShares(texts);
  const [share] = shares;
  if (share === undefined) return [];
  const isTooOld = bus !== undefined && !bus.hasYoungTypes;
  const isTooMany = bus !== undefined && shares.length > room;
  if (share.byDefault) return isTooOld || isTooMany ? [] : shares;
  if (isTooOld)
    throw usage(`--share does not go with --bus ${bus.name}: shares are younger than the legacy interface`);
  if (isTooMany) throw usage(`--share was given ${shares.length} times; beside the disks ${room} shares fit`);
  return shares;
}

function parseMachine(name: string): RunMachine {
  const machine = runMachines.find((one) => one.name === name);
  if (machine !== undefined) return machine;
  throw usage(`--machine ${name} is no machine; give one of ${namesOf(runMachines)}`);
}

/** The bus that was asked for, of those that the machine has; `undefined` where there is no choice. */
function busOf(machine: RunMachine, name: string | undefined): RunBus | undefined {
  const has = (bus: RunBus): boolean => machine.buses.includes(bus.name);
  if (name === undefined) return runBuses.find(has);
  const bus = runBuses.find((one) => one.name === name);
  if (bus === undefined) throw usage(`--bus ${name} is no bus; give one of ${namesOf(runBuses)}`);
  if (has(bus)) return bus;
  if (machine.buses.length === 0) {
    throw usage(
      `--bus ${name}: ${machine.name} has one bus of its own, over vhost-user; leave --bus out, or give --machine v86 or qemu`,
    );
  }
  const others = namesOf(runMachines.filter(({ buses }) => buses.some((one) => one === name)));
  throw usage(
    `--bus ${name} is not to be had with --machine ${machine.name}; give one of ${machine.buses.join(', ')}, or --machine ${others}`,
  );
}

const namesOf = (all: readonly { readonly name: string }[]): string => all.map(({ name }) => name).join(', ');

function parseMemory(text: string, machine: RunMachine): number {
  const { least, most } = machine.memory;
  const memory = wholeNumber(text, least, most);
  if (memory !== undefined) return memory;
  throw usage(`--memory ${text} is no number of MiB from ${least} to ${most}`);
}

/**
 * `FILE`, then `,ro` and `,format=FORMAT` in any order, each once; a name that itself ends in `,ro` is given as
 * `name,ro,ro`.
 */
function parseDisk(text: string): DiskPlan {
  let path = text;
  let readOnly = false;
  let format: ImageFormat | undefined;
  for (let option = endOf(path); option !== undefined; option = endOf(path)) {
    const [name, value] = option.slice(1).split('=');
    if (name === 'ro' ? readOnly : format !== undefined) break;
    if (name === 'ro') readOnly = true;
    else if (value === 'raw' || value === 'qcow2') format = value;
    else throw usage(`--disk ${text}: ${value} is no format; give raw or qcow2`);
    path = path.slice(0, -option.length);
  }
  if (path === '') throw usage(`--disk ${text} names no file`);
  return { path, readOnly, format };
}

const endOf = (text: string): string | undefined => /,(ro|format=[^,]*)$/.exec(text)?.[0];

/** The server knows whether two URIs are one export; one URI is. */
function checkExport({ path, format }: DiskPlan): string {
  if (format === undefined) return path;
  throw usage(`--disk ${path}: the server knows the format; leave format=${format} away`);
}

async function checkDisk({ path, readOnly, format }: DiskPlan): Promise<Stats> {
  const found = await checkFile('--disk', path);
  if (found.isFile() && imageFormat(path, format) === 'raw') {
    if (found.size === 0) throw usage(`--disk ${path} is empty; truncate -s 64M ${path} gives it a size`);
    if (found.size % sector !== 0) {
      const whole = Math.ceil(found.size / sector) * sector;
      const over = `${found.size % sector} bytes more than whole sectors of ${sector}`;
      throw usage(`--disk ${path} has ${over}; truncate -s ${whole} ${path} fills the last one up`);
    }
  }
  if (!readOnly && !(await may(path, constants.W_OK))) {
    throw usage(
      `--disk ${path} cannot be written; give ${path},ro to use it read-only, or change its permissions`,
    );
  }
  return found;
}

async function checkFile(option: string, path: string): Promise<Stats> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    if (found.code === 'ENOENT')
      throw usage(`${option} ${path}: there is no such file; check the name`, found);
    throw usage(
      `${option} ${path} cannot be reached (${found.code}); check the path and its permissions`,
      found,
    );
  }
  if (!found.isFile() && !(option === '--disk' && found.isBlockDevice())) {
    throw usage(`${option} ${path} is no plain file; give the file of an image`);
  }
  if (!(await may(path, constants.R_OK)))
    throw usage(`${option} ${path} cannot be read; change its permissions`);
  return found;
}

/** Checks a file that is to be written, and gives what is equal for two names of it. */
async function checkWritten(
  option: string,
  path: string,
  used: ReadonlyMap<string, string>,
): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true) throw usage(`${option} ${path} is a folder; give a file in it`);
  const id = found === undefined ? resolve(path) : identity(found);
  const other = used.get(id);
  if (other !== undefined) throw usage(`${option} ${path} would overwrite ${other}; give it another file`);
  const writable = found === undefined ? dirname(path) : path;
  if (await may(writable, constants.W_OK)) return id;
  throw usage(
    `${option} ${path}: ${found === undefined ? `${writable} is no folder where ${basename(path)} can be made` : 'it cannot be written'}; give another file`,
  );
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

/** Equal for two names of one file. */
function identity({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}
