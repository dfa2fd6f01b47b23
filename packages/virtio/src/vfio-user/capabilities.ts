import { PeerError } from '../errors.ts';
import { decodeUtf8, encodeUtf8 } from '../spec/utf8.ts';
import { protocolVersion, vfio_user_version } from './messages.ts';

/** What one side can do, as the version message tells the other; what is missing there has the value that the protocol gives it. */
export interface Capabilities {
  /** The most descriptors that the side takes in one message. */
  readonly max_msg_fds: number;
  /** The most data that it takes, or gives, in one message, in bytes. */
  readonly max_data_xfer_size: number;
  /** The most DMA regions at a time. */
  readonly max_dma_maps: number;
  /** The page sizes of DMA regions, or'ed together. */
  readonly pgsizes: number;
  /** It knows REGION_WRITE_MULTI. */
  readonly write_multiple: boolean;
}

/** What holds for a side that says nothing. */
export const defaultCapabilities: Capabilities = Object.freeze({
  max_msg_fds: 1,
  max_data_xfer_size: 2 ** 20,
  max_dma_maps: 65535,
  pgsizes: 4096,
  write_multiple: false,
});

/** A version message: the version, and the capabilities that its sender named. */
export interface VersionMessage {
  readonly major: number;
  readonly minor: number;
  readonly named: Partial<Capabilities>;
}

/** Bytes of JSON beyond which nobody has capabilities to tell. */
const longest = 4096;
const names = Object.keys(defaultCapabilities);

/** The bytes of a version message. */
export function encodeVersion(
  named: Partial<Capabilities>,
  version: { readonly major: number; readonly minor: number } = protocolVersion,
): Uint8Array {
  const json = encodeUtf8(JSON.stringify({ capabilities: named }));
  return vfio_user_version.encode({ ...version, data: [...json, 0] });
}

/**
 * Reads a version message. Capabilities that are not known here are left out.
 *
 * @throws {PeerError} BAD_MESSAGE when it is none.
 */
export function decodeVersion(view: DataView): VersionMessage {
  const { major, minor, data } = vfio_user_version.read(view);
  return { major, minor, named: data.length === 0 ? {} : readCapabilities(data) };
}

function readCapabilities(data: readonly number[]): Partial<Capabilities> {
  if (data.at(-1) !== 0 || data.length > longest) throw bad('the capabilities do not end with a NUL');
  const { capabilities = {} } = objectOf(parse(decodeUtf8(Uint8Array.from(data.slice(0, -1)))));
  const known = Object.entries(objectOf(capabilities)).filter(([name]) => names.includes(name));
  for (const [name, value] of known) {
    const isSound =
      name === 'write_multiple'
        ? typeof value === 'boolean'
        : typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    if (!isSound) throw bad(`the capability ${name} is ${JSON.stringify(value)}`);
  }
  return Object.fromEntries(known);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw bad('the capabilities are no JSON');
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw bad('the capabilities are no object');
  return { ...value };
}

const bad = (why: string): PeerError => new PeerError('BAD_MESSAGE', `vfio-user: ${why}`);
