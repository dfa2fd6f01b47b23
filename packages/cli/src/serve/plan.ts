import type { ReservedFeatureName } from 'virtio/spec';
import type { ImageFormat } from 'virtio-node/storage';
import { usage } from '../exit-status.ts';
import { type PciInterface, pciInterfaces } from '../lend/interfaces.ts';
import { type NetPlan, parseMac, parseMtu, parseNet } from '../network/plan.ts';
import { planServedShare, type ServedShare, shareOptions } from '../share/served.ts';
import { wholeNumber } from '../whole-number.ts';
import type { ServeArguments } from './arguments.ts';

/** Queue sizes that front ends ask for: QEMU's largest. */
const mostQueueSize = 1024;
const mostQueues = 64;
/** The types that can have more than one, and of other sizes. */
const manyQueues: readonly string[] = ['blk', 'fs', 'net'];
/** The types that legacy drivers know. */
const oldTypes: readonly ServedName[] = ['blk', 'console', 'entropy', 'net'];

/** The CIDs that a guest can have, and the one that it has unless told. */
const leastCid = 3;
const mostCid = 0xffff_fffe;

/** The device types that can be served, by our names for them. */
export type ServedName = (typeof servedNames)[number];

/** All of them. */
export const servedNames = ['blk', 'console', 'entropy', 'net', 'vsock', 'fs'] as const;

/** What to serve, checked as far as it can be without changing anything. */
export interface ServePlan {
  readonly type: ServedName;
  /** Where front ends come: a path, or a descriptor that this process was started with. */
  readonly at: string | number;
  readonly queues: number;
  readonly queueSize: number;
  readonly packed: boolean;
  /** Lent as a PCI function, for these drivers; by vhost-user unless told. */
  readonly vfioUser: PciInterface | undefined;
  readonly inflight: boolean;
  /** No memory is taken that its owner could cut off. */
  readonly sealedMemory: boolean;
  /** The features of rings that are offered. */
  readonly reserved: readonly ReservedFeatureName[];
  readonly blkFile: string | undefined;
  readonly format: ImageFormat | undefined;
  /** Bytes of a disk in memory. */
  readonly scratch: number | undefined;
  /** Bytes of a disk that keeps nothing. */
  readonly null: number | undefined;
  readonly readOnly: boolean;
  /** Past the host's page cache. */
  readonly direct: boolean;
  /** A write is stable when it is done. */
  readonly writeThrough: boolean;
  readonly serial: string;
  /** The guest's context ID, and the Unix socket that stands for its ports. */
  readonly guestCid: number;
  readonly udsPath: string | undefined;
  /** The Unix sockets that stand for the ports of other guests, by their context IDs. */
  readonly siblings: ReadonlyMap<number, string>;
  /** The folder that is shared, for the type of that. */
  readonly share: ServedShare | undefined;
  /** The network that a network device is connected to. */
  readonly net: NetPlan;
  /** Checksums and segments may be left to it, and to its driver. */
  readonly offloads: boolean;
  /** A received frame may lie in several buffers. */
  readonly mergeable: boolean;
  /** Where all its frames are written to. */
  readonly capture: string | undefined;
  readonly once: boolean;
  readonly trace: string | undefined;
  readonly json: boolean;
}

/** @throws {CommandError} for a type that is not served here. */
export function typeNamed(name: string): ServedName {
  const type = servedNames.find((one) => one === name);
  if (type !== undefined) return type;
  throw usage(`there is no device type ${name} here; there are ${servedNames.join(', ')}`);
}

/**
 * Checks the options of `virtio serve`.
 *
 * @throws {CommandError} that names the first mistake.
 */
export function planServe(name: string, args: ServeArguments): ServePlan {
  const type = typeNamed(name);
  refuseOthers(type, 'blk', 'disks', {
    '--blk-file': args.blkFile,
    '--scratch': args.scratch,
    '--null': args.null,
    '--format': args.format,
    '--read-only': args.readOnly || undefined,
    '--direct': args.direct || undefined,
    '--write-through': args.writeThrough || undefined,
    '--serial': args.serial,
  });
  if (type === 'blk' && args.blkFile === undefined && (args.format !== undefined || args.direct)) {
    throw usage(
      `${args.direct ? '--direct' : '--format'} is for images: give --blk-file FILE, or leave it out`,
    );
  }
  refuseOthers(type, 'vsock', 'sockets', {
    '--guest-cid': args.guestCid,
    '--uds-path': args.udsPath,
    '--sibling': args.sibling[0],
  });
  refuseOthers(type, 'fs', 'folders', shareOptions(args));
  refuseOthers(type, 'net', 'networks', {
    '--net': args.net,
    '--mac': args.mac,
    '--mtu': args.mtu,
    '--capture': args.capture,
    '--no-offloads': args.offloads ? undefined : true,
    '--no-mergeable': args.mergeable ? undefined : true,
  });
  const disks = [args.blkFile, args.scratch, args.null].filter((value) => value !== undefined);
  if (type === 'blk' && disks.length !== 1) {
    throw usage(
      'a disk needs one of --blk-file FILE, --scratch MIB (in memory) and --null MIB (which keeps nothing)',
    );
  }
  if (type === 'vsock' && args.udsPath === undefined) {
    throw usage('sockets need --uds-path PATH, the Unix socket that stands for the ports of the guest');
  }
  const { serial = 'virtio-ts' } = args;
  if (serial.length > 20) throw usage(`--serial ${serial} is longer than 20 characters`);
  return {
    type,
    at: place(args),
    queues: queuesOf(type, args.queues),
    queueSize: queueSizeOf(type, args.queueSize),
    packed: args.packed,
    vfioUser: interfaceNamed(type, args.vfioUser),
    inflight: args.inflight,
    sealedMemory: args.sealedMemory,
    reserved: [
      'VERSION_1',
      ...(args.indirect ? (['INDIRECT_DESC'] as const) : []),
      ...(args.eventIdx ? (['EVENT_IDX'] as const) : []),
      ...(args.packed ? (['RING_PACKED'] as const) : []),
      'RING_RESET',
    ],
    blkFile: args.blkFile,
    format: formatNamed(args.format),
    scratch: mebibytes('--scratch', args.scratch),
    null: mebibytes('--null', args.null),
    readOnly: args.readOnly,
    direct: args.direct,
    writeThrough: args.writeThrough,
    serial,
    guestCid: whole('--guest-cid', args.guestCid ?? String(leastCid), mostCid, leastCid),
    udsPath: args.udsPath,
    siblings: siblingsOf(args.sibling),
    share: type === 'fs' ? planServedShare(args) : undefined,
    net: netOf(args),
    offloads: args.offloads,
    mergeable: args.mergeable,
    capture: args.capture,
    once: args.once,
    trace: args.trace,
    json: args.json,
  };
}

/** Refuses options of one type with another, whose own they are not. */
function refuseOthers(
  type: ServedName,
  own: ServedName,
  things: string,
  options: Readonly<Record<string, unknown>>,
): void {
  if (type === own) return;
  for (const [option, value] of Object.entries(options)) {
    if (value !== undefined) throw usage(`${option} is for ${things}: virtio serve ${own} ${option} …`);
  }
}

/** `CID=PATH`, each CID once. */
function siblingsOf(texts: readonly string[]): ReadonlyMap<number, string> {
  const siblings = new Map<number, string>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const cid = wholeNumber(text.slice(0, Math.max(at, 0)), leastCid, mostCid);
    const path = text.slice(at + 1);
    if (cid === undefined || path === '') {
      throw usage(
        `--sibling ${text}: give CID=PATH, such as 4=/run/other.vsock, with a CID from ${leastCid} on`,
      );
    }
    if (siblings.has(cid)) throw usage(`--sibling ${cid} is given twice`);
    siblings.set(cid, path);
  }
  return siblings;
}

/** What the device is connected to, with what `--mac` and `--mtu` say. */
function netOf({ net = 'user', mac, mtu }: ServeArguments): NetPlan {
  if (net === 'none')
    throw usage('--net none: a network device that is served needs a network; give another');
  const plan = parseNet(net);
  return {
    ...plan,
    mac: mac === undefined ? plan.mac : parseMac(mac, '--mac'),
    mtu: mtu === undefined ? plan.mtu : parseMtu(mtu, '--mtu'),
  };
}

function interfaceNamed(type: ServedName, given: string | boolean | undefined): ServePlan['vfioUser'] {
  if (given === undefined || given === false) return undefined;
  const drivers = given === true ? 'modern' : pciInterfaces.find((one) => one === given);
  if (drivers === undefined) throw usage(`--vfio-user ${given} is none of ${pciInterfaces.join(', ')}`);
  if (drivers === 'modern' || oldTypes.includes(type)) return drivers;
  throw usage(
    `--vfio-user ${drivers}: legacy drivers know no device of the type ${type}; leave ${drivers} out`,
  );
}

function formatNamed(name: string | undefined): ImageFormat | undefined {
  if (name === undefined || name === 'raw' || name === 'qcow2') return name;
  throw usage(`--format ${name} is neither raw nor qcow2`);
}

function place({ socketPath, socket, fd }: ServeArguments): string | number {
  const given = [socketPath, socket, fd].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw usage('one of --socket-path PATH and --fd NUMBER says where front ends come; give one');
  }
  const path = socketPath ?? socket;
  if (path === '') throw usage('--socket-path is empty; give the path where front ends come');
  if (fd === undefined) return path ?? '';
  if (!/^\d+$/.test(fd) || Number(fd) < 3)
    throw usage(`--fd ${fd} is no descriptor of a socket; they begin at 3`);
  return Number(fd);
}

/** Bytes. */
function mebibytes(option: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : whole(option, text, 1 << 20) * 2 ** 20;
}

function whole(option: string, text: string, most: number, least = 1): number {
  const value = wholeNumber(text, least, most);
  if (value !== undefined) return value;
  throw usage(`${option} ${text} is not between ${least} and ${most}`);
}

function queuesOf(type: ServedName, text: string): number {
  const most = manyQueues.includes(type) ? mostQueues : 1;
  if (most === 1 && text !== '1')
    throw usage(`--queues ${text}: ${type} has one queue of each kind; leave --queues out`);
  return whole('--queues', text, most);
}

function queueSizeOf(type: ServedName, text: string | undefined): number {
  if (text === undefined) return mostQueueSize;
  if (!manyQueues.includes(type))
    throw usage(
      `--queue-size is for ${manyQueues.join(', ')}: the queues of ${type} have their size; leave it out`,
    );
  const size = whole('--queue-size', text, mostQueueSize);
  if ((size & (size - 1)) !== 0) throw usage(`--queue-size ${text} is no power of two, such as 256`);
  return size;
}
