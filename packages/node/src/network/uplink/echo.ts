import { endianness } from 'node:os';
import { internetChecksum } from 'virtio/link';
import { addressFrom } from 'virtio/network';
import { type Poller, pollEvents } from '../../ffi/system-calls.ts';
import { interrupted, tryAgain } from '../../host/failure.ts';
import { linux, pollerFor } from '../../host/platform.ts';

const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** Families of addresses, and how each of them pings. */
const families = {
  4: { domain: 2, protocol: 1, request: 8, reply: 0 },
  6: { domain: 10, protocol: 58, request: 128, reply: 129 },
} as const;

/** Type, code, checksum, identifier, sequence number. */
const headerLength = 8;
/** Room for any answer, with the header of IPv4 that raw sockets show. */
const longestPacket = 65_536;
/** Milliseconds that an answer may take. */
const patience = 10_000;

/** A ping under way. */
export interface Echo {
  /** Whether it was answered. */
  readonly answered: Promise<boolean>;
  /** Waits no longer. */
  end(): void;
}

let nextIdentifier = process.pid & 0xffff;

/**
 * Asks whether somebody is there: over a socket for pings, which Linux gives to the groups of
 * `net.ipv4.ping_group_range`, else over a raw one, which it gives to root. Not answered where there is neither.
 */
export function echo(address: string, payload: Uint8Array): Echo {
  let end: (answered: boolean) => void = () => {};
  const answered = new Promise<boolean>((resolve) => {
    end = resolve;
  });
  try {
    const release = ask(address, payload, (isThere) => end(isThere));
    void answered.then(release);
  } catch {
    // There is no such socket for us, or no way there: to the guest it is as if nobody answered.
    end(false);
  }
  return { answered, end: () => end(false) };
}

/** Sends the question, and says once what came of it. Gives what lets go of it all. */
function ask(address: string, payload: Uint8Array, done: (answered: boolean) => void): () => void {
  const to = addressFrom(address);
  if (to === undefined) throw new Error(`${address} is no address`);
  const version = to.length === 4 ? 4 : 6;
  const { request, reply } = families[version];
  const identifier = nextIdentifier;
  nextIdentifier = (nextIdentifier + 1) & 0xffff;
  const { fd, raw } = open(version, to);
  let poller: Poller | undefined;
  let timer: NodeJS.Timeout | undefined;
  const release = (): void => {
    clearTimeout(timer);
    poller?.close();
    linux().close(fd);
  };
  try {
    const message = Buffer.alloc(headerLength + payload.length);
    message[0] = request;
    message.writeUInt16BE(identifier, 4);
    message.set(payload, headerLength);
    message.writeUInt16BE(internetChecksum(message, 0, message.length), 2);
    const sent = linux().write(fd, message, message.length);
    if (sent < 0) throw new Error('it cannot be sent');
    const packet = Buffer.alloc(longestPacket);
    poller = pollerFor(fd, () => {
      for (;;) {
        const length = linux().read(fd, packet, packet.length);
        if (length === tryAgain || length === interrupted) return;
        // What is wrong on the way comes as an error of the socket's.
        if (length < 0) return done(false);
        // A raw socket shows the header of IPv4, and all that comes from there.
        const at = raw && version === 4 ? ((packet[0] ?? 0) & 0x0f) * 4 : 0;
        if (length < at + headerLength || packet[at] !== reply) continue;
        if (!raw || packet.readUInt16BE(at + 4) === identifier) return done(true);
      }
    });
    poller.start(pollEvents.READABLE);
    timer = setTimeout(() => done(false), patience);
    return release;
  } catch (error) {
    release();
    throw error;
  }
}

/** A socket that hears of nobody but the one who is asked. */
function open(version: 4 | 6, to: Uint8Array): { readonly fd: number; readonly raw: boolean } {
  const { domain, protocol } = families[version];
  const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  let raw = false;
  let fd = linux().socket(domain, SOCK_DGRAM | flags, protocol);
  if (fd < 0) {
    raw = true;
    fd = linux().socket(domain, SOCK_RAW | flags, protocol);
  }
  if (fd < 0) throw new Error('there is no socket for pings');
  // Family, port, for IPv6 the label of a flow, and the address.
  const place = new Uint8Array(version === 4 ? 16 : 28);
  new DataView(place.buffer).setUint16(0, domain, endianness() === 'LE');
  place.set(to, version === 4 ? 4 : 8);
  if (linux().connect(fd, place, place.length) < 0) {
    linux().close(fd);
    throw new Error('there is no way there');
  }
  return { fd, raw };
}
