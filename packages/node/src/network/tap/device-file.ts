import { closeSync, constants as modes, openSync } from 'node:fs';
import { constants } from 'node:os';
import { HostError, UsageError } from 'virtio/errors';
import { noOffloads, type TakenOffloads } from 'virtio/link';
import { failure } from '../../host/failure.ts';
import { codeOf } from '../../host/listen-at.ts';
import { linux } from '../../host/platform.ts';

const { EBUSY, EINVAL, EPERM } = constants.errno;

/** `_IOW('T', number, int)`; one processor has another bit for the direction. */
const request = (number: number): number => (process.arch === 'ppc64' ? 0x8004_5400 : 0x4004_5400) + number;
const TUNSETIFF = request(202);
const TUNSETOFFLOAD = request(208);
const TUNSETVNETLE = request(220);

const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

/** The most queues that the kernel has for an interface. */
export const mostQueues = 256;

/** Of a `struct ifreq`. */
const ifreqLength = 40;
const nameLength = 16;

/** What the kernel may leave to be done to the frames that it gives. */
const offload = {
  checksum: 0x01,
  tcp4: 0x02,
  tcp6: 0x04,
  ecn: 0x08,
  // Both together alone.
  udp: 0x20 | 0x40,
} as const;

/** A queue of a tap interface of the kernel's, opened. */
export interface TapFile {
  readonly fd: number;
  /** The interface's name, which the kernel chose where it was asked to. */
  readonly name: string;
  /** What the kernel takes unfinished. */
  readonly takes: TakenOffloads;
  close(): void;
}

/**
 * Opens a tap interface by so many of its queues. It is made if it is not there.
 *
 * @throws {HostError} NOT_FOUND where there are none, or for want of the right to it; IN_USE when another program has it;
 *   IO_ERROR.
 * @throws {UsageError} BAD_ARGUMENT for what is no name of an interface.
 */
export function openTapFiles(name: string, queues: number): readonly [TapFile, ...TapFile[]] {
  if (!/^[^\s/]+$/.test(name) || Buffer.byteLength(name) >= nameLength) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${name} is no name of an interface: at most 15 letters, no space, no /`,
    );
  }
  // Of one that was made for many queues other programs may have some: it is never taken for one of a single queue.
  const kind = queues === 1 ? 0 : IFF_MULTI_QUEUE;
  const first = openQueue(name, kind);
  const files: [TapFile, ...TapFile[]] = [first];
  try {
    while (files.length < queues) files.push(openQueue(first.name, kind));
    return files;
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

function openQueue(name: string, kind: number): TapFile {
  const { ioctl } = linux();
  const fd = openTun();
  try {
    const ifreq = new Uint8Array(ifreqLength);
    ifreq.set(Buffer.from(name));
    // In the machine's byte order.
    new Uint16Array(ifreq.buffer, nameLength, 1)[0] = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | kind;
    const made = ioctl(fd, TUNSETIFF, ifreq);
    if (made < 0) throw whyNot(made, name);
    const little = ioctl(fd, TUNSETVNETLE, new Uint8Array(Int32Array.of(1).buffer));
    if (little < 0) throw failure(little, `${name}: the kernel cannot speak little-endian on it`);
    const takes = takenBy(fd);
    const end = ifreq.indexOf(0);
    return {
      fd,
      name: Buffer.from(ifreq.subarray(0, end)).toString(),
      takes,
      close: () => void linux().close(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** What the kernel may leave to be done to frames for somebody who takes this, as it wants to hear it. */
export function offloadBits({ checksum, tcp4, tcp6, ecn, udp4, udp6 }: TakenOffloads): number {
  if (!checksum) return 0;
  return (
    offload.checksum |
    (tcp4 ? offload.tcp4 : 0) |
    (tcp6 ? offload.tcp6 : 0) |
    (ecn && (tcp4 || tcp6) ? offload.ecn : 0) |
    (udp4 && udp6 ? offload.udp : 0)
  );
}

/** Tells the kernel so. */
export function offerOffloads(fd: number, bits: number): void {
  const { ioctlNumber } = linux();
  // Older kernels do not cut UDP, and refuse all for it.
  if (ioctlNumber(fd, TUNSETOFFLOAD, bits) < 0) ioctlNumber(fd, TUNSETOFFLOAD, bits & ~offload.udp);
}

function openTun(): number {
  try {
    // The descriptor is this module's alone: the kernel's own close suits it as well as Node's.
    return openSync('/dev/net/tun', modes.O_RDWR | modes.O_NONBLOCK);
  } catch (cause) {
    const code = codeOf(cause);
    const why =
      code === 'ENOENT' || code === 'ENXIO'
        ? 'this system has no /dev/net/tun; modprobe tun makes it, where there is such a module'
        : `/dev/net/tun cannot be opened (${code})`;
    throw new HostError('NOT_FOUND', why, { cause });
  }
}

function whyNot(result: number, name: string): HostError {
  if (result === -EBUSY) {
    return new HostError('IN_USE', `${name} is in use: another program has it open; end it, or give another`);
  }
  if (result === -EPERM) {
    return new HostError(
      'NOT_FOUND',
      `${name} is not yours: as root, ip tuntap add ${name} mode tap user NAME, and ip link set ${name} up`,
    );
  }
  if (result === -EINVAL) {
    return new HostError(
      'IO_ERROR',
      `${name} is there and is no tap interface of so many queues: one that was made with multi_queue takes 2 or more, others 1`,
    );
  }
  return failure(result, `${name} cannot be opened as a tap interface`);
}

/** Younger kernels cut UDP as well. */
function takenBy(fd: number): TakenOffloads {
  const { ioctlNumber } = linux();
  const all = { ...noOffloads, checksum: true, tcp4: true, tcp6: true, ecn: true };
  const cutsUdp = ioctlNumber(fd, TUNSETOFFLOAD, offload.checksum | offload.udp) >= 0;
  ioctlNumber(fd, TUNSETOFFLOAD, 0);
  return { ...all, udp4: cutsUdp, udp6: cutsUdp };
}
