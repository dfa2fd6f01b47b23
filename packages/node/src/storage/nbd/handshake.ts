import { HostError } from 'virtio/errors';
import { printable } from '../printable.ts';
import type { Connection } from './connection.ts';
import {
  commonPayload,
  handshakeFlag,
  info,
  length,
  longestString,
  magic,
  nameOf,
  option,
  reply,
  transmissionFlag,
} from './protocol.ts';
import type { NbdTls } from './tls.ts';

/** What a server said of an export. */
export interface Export {
  /** Bytes. */
  readonly size: number;
  readonly flags: number;
  /** Bytes: what offsets and lengths have to be multiples of. */
  readonly blockSize: number;
  /** Bytes of data in one request. */
  readonly mostPayload: number;
  readonly structured: boolean;
}

interface OptionReply {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Replies to one option, bytes of one reply: more is nothing that a server would have to say. */
const mostReplies = 64;
const longestReply = 2 * longestString;
const largestBlock = 65_536;

/**
 * Goes through the fixed newstyle handshake, to where requests can be sent.
 *
 * @param tls when nothing of the export may go over the connection but by TLS.
 * @throws {HostError} NOT_FOUND when the server has no such export, BAD_IMAGE for one that is no disk, else IO_ERROR.
 */
export async function shakeHands(
  connection: Connection,
  exportName: string,
  tls: NbdTls | undefined,
): Promise<Export> {
  const name = new TextEncoder().encode(exportName);
  const greeting = view(await take(connection, 18));
  if (greeting.getBigUint64(0) !== magic.INIT) throw connection.violation('it is no NBD server');
  const style = greeting.getBigUint64(8);
  const serverFlags = greeting.getUint16(16);
  if (style !== magic.OPTION || (serverFlags & handshakeFlag.FIXED_NEWSTYLE) === 0) {
    if (style !== magic.OPTION && style !== magic.OLDSTYLE) throw connection.violation('it is no NBD server');
    throw new HostError(
      'IO_ERROR',
      `${connection.name}: the server is too old: it has no fixed newstyle handshake`,
    );
  }
  const noZeroes = serverFlags & handshakeFlag.NO_ZEROES;
  connection.send(u32(handshakeFlag.FIXED_NEWSTYLE | noZeroes));

  if (tls !== undefined) await encrypt(connection, tls);
  const structured =
    (await ask(connection, option.STRUCTURED_REPLY, new Uint8Array())).final.type === reply.ACK;
  const request = Uint8Array.from([...u32(name.length), ...name, 0, 1, 0, info.BLOCK_SIZE]);
  const { final, infos } = await ask(connection, option.GO, request);
  if (final.type === reply.ERR_UNSUP) return goByName(connection, name, noZeroes !== 0, structured);
  if (final.type !== reply.ACK) throw refusal(connection, exportName, final);

  let [size, flags]: [bigint | undefined, number] = [undefined, 0];
  let sizes = { blockSize: 1, mostPayload: commonPayload };
  for (const data of infos) {
    const fields = view(data);
    const type = fields.getUint16(0);
    if (type === info.EXPORT) {
      if (data.length !== 12) throw connection.violation(`NBD_INFO_EXPORT of ${data.length} bytes`);
      [size, flags] = [fields.getBigUint64(2), fields.getUint16(10)];
    } else if (type === info.BLOCK_SIZE) {
      if (data.length !== 14) throw connection.violation(`NBD_INFO_BLOCK_SIZE of ${data.length} bytes`);
      sizes = checkSizes(connection, fields.getUint32(2), fields.getUint32(6), fields.getUint32(10));
    }
  }
  if (size === undefined) throw connection.violation('no NBD_INFO_EXPORT');
  return checked(connection, size, { flags, structured, ...sizes });
}

/** The first of all options: what is said before it, anybody on the way may have said. */
async function encrypt(connection: Connection, tls: NbdTls): Promise<void> {
  const { final } = await ask(connection, option.STARTTLS, new Uint8Array());
  if (final.type !== reply.ACK) {
    const said = final.data.length === 0 ? '' : `: ${printable(final.data)}`;
    const why = `NBD_REP_${nameOf(reply, final.type)}`;
    throw new HostError('IO_ERROR', `${connection.name}: the server has no TLS (${why})${said}`);
  }
  await connection.startTls(tls);
}

/** For servers that do not know NBD_OPT_GO. */
async function goByName(
  connection: Connection,
  name: Uint8Array,
  noZeroes: boolean,
  structured: boolean,
): Promise<Export> {
  sendOption(connection, option.EXPORT_NAME, name);
  const fields = view(await take(connection, 10));
  if (!noZeroes) await take(connection, 124);
  const flags = fields.getUint16(8);
  return checked(connection, fields.getBigUint64(0), {
    flags,
    structured,
    blockSize: 1,
    mostPayload: commonPayload,
  });
}

function checked(connection: Connection, size: bigint, rest: Omit<Export, 'size'>): Export {
  if ((rest.flags & transmissionFlag.HAS_FLAGS) === 0)
    throw connection.violation('NBD_FLAG_HAS_FLAGS is not set');
  if (size > BigInt(Number.MAX_SAFE_INTEGER) || size < 512n) {
    throw new HostError('BAD_IMAGE', `${connection.name}: a disk of ${size} bytes cannot be had`);
  }
  return { size: Number(size), ...rest };
}

function checkSizes(
  connection: Connection,
  least: number,
  preferred: number,
  most: number,
): Pick<Export, 'blockSize' | 'mostPayload'> {
  const isPower = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));
  const sound =
    isPower(least) && least <= largestBlock && isPower(preferred) && preferred >= Math.max(least, 512);
  if (!sound || most < preferred)
    throw connection.violation(`block sizes of ${least}, ${preferred} and ${most} bytes`);
  return { blockSize: least, mostPayload: Math.min(most, commonPayload) };
}

function refusal(connection: Connection, exportName: string, { type, data }: OptionReply): HostError {
  const said = data.length === 0 ? '' : `: ${printable(data)}`;
  const name = connection.name;
  if (type === reply.ERR_UNKNOWN) {
    return new HostError('NOT_FOUND', `${name}: the server has no export named "${exportName}"${said}`);
  }
  if (type === reply.ERR_TLS_REQD) {
    return new HostError(
      'IO_ERROR',
      `${name}: the server wants TLS: give a URI that begins with nbds${said}`,
    );
  }
  return new HostError('IO_ERROR', `${name}: the server refuses (NBD_REP_${nameOf(reply, type)})${said}`);
}

/** Sends an option; answers the last reply to it, and what was said on the way there. */
async function ask(
  connection: Connection,
  what: number,
  data: Uint8Array,
): Promise<{ readonly final: OptionReply; readonly infos: readonly Uint8Array[] }> {
  sendOption(connection, what, data);
  const infos: Uint8Array[] = [];
  for (let count = 0; count < mostReplies; count++) {
    const header = view(await take(connection, length.optionReply));
    const [type, dataLength] = [header.getUint32(12), header.getUint32(16)];
    if (header.getBigUint64(0) !== magic.OPTION_REPLY || header.getUint32(8) !== what) {
      throw connection.violation(`no reply to option ${what}`);
    }
    if (dataLength > longestReply) throw connection.violation(`a reply of ${dataLength} bytes`);
    const said: OptionReply = { type, data: await take(connection, dataLength) };
    if (type === reply.ACK || type >= 2 ** 31) return { final: said, infos };
    if (type !== reply.INFO || what !== option.GO || dataLength < 2) {
      throw connection.violation(`a reply of type ${type} to option ${what}`);
    }
    infos.push(said.data);
  }
  throw connection.violation(`no end of replies to option ${what}`);
}

function sendOption(connection: Connection, what: number, data: Uint8Array): void {
  const header = new Uint8Array(16);
  const fields = view(header);
  fields.setBigUint64(0, magic.OPTION);
  fields.setUint32(8, what);
  fields.setUint32(12, data.length);
  connection.send(header, data);
}

async function take(connection: Connection, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  await connection.read(bytes);
  return bytes;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, value);
  return bytes;
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
