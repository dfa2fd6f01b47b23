import { get16, put16, put32 } from '../link/bytes.ts';

export const dnsHeader = 12;

/** Types of records that we know something about. */
export const dnsType = Object.freeze({ A: 1, AAAA: 28, OPT: 41 } as const);

export const dnsCode = Object.freeze({
  NO_ERROR: 0,
  FORMAT_ERROR: 1,
  SERVER_FAILURE: 2,
  NO_SUCH_NAME: 3,
  NOT_IMPLEMENTED: 4,
  REFUSED: 5,
} as const);

/** What every query may have for an answer, and what one that says how much it can take may have at most. */
const leastRoom = 512;
const mostRoom = 4096;

const flag = Object.freeze({
  RESPONSE: 0x8000,
  TRUNCATED: 0x0200,
  RECURSION_DESIRED: 0x0100,
  RECURSION_AVAILABLE: 0x0080,
} as const);

/** A question that a guest asks. */
export interface DnsQuestion {
  readonly id: number;
  /** In small letters, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends in the message. */
  readonly end: number;
  /** Bytes that an answer over UDP may have. */
  readonly room: number;
}

/** Reads a query; a number when it is one that is answered by that code, `undefined` when it is none at all. */
export function readQuestion(message: Uint8Array): DnsQuestion | number | undefined {
  if (message.length < dnsHeader || (message[2]! & 0x80) !== 0) return undefined;
  if ((message[2]! & 0x78) !== 0) return dnsCode.NOT_IMPLEMENTED;
  if (get16(message, 4) !== 1) return dnsCode.FORMAT_ERROR;
  const labels: string[] = [];
  let at = dnsHeader;
  for (;;) {
    const length = message[at];
    // A question has nothing in front of it that it could point to.
    if (length === undefined || length > 63 || at - dnsHeader > 255) return dnsCode.FORMAT_ERROR;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return dnsCode.FORMAT_ERROR;
    labels.push(String.fromCharCode(...message.subarray(at, at + length)));
    at += length;
  }
  if (at + 4 > message.length) return dnsCode.FORMAT_ERROR;
  return {
    id: get16(message, 0),
    name: labels.join('.').toLowerCase(),
    type: get16(message, at),
    class: get16(message, at + 2),
    end: at + 4,
    room: roomOf(message, at + 4),
  };
}

/** What the pseudo record of EDNS says, where it is the first record behind the question: RFC 6891. */
function roomOf(message: Uint8Array, at: number): number {
  const others = get16(message, 6) + get16(message, 8);
  if (others !== 0 || get16(message, 10) === 0 || at + 11 > message.length) return leastRoom;
  if (message[at] !== 0 || get16(message, at + 1) !== dnsType.OPT) return leastRoom;
  return Math.max(leastRoom, Math.min(mostRoom, get16(message, at + 3)));
}

/** An answer of our own making: the question, and a record for each address. */
export function answerOf(
  query: Uint8Array,
  question: DnsQuestion,
  code: number,
  addresses: readonly Uint8Array[] = [],
  seconds = 0,
): Uint8Array {
  const size = addresses.reduce((sum, address) => sum + 12 + address.length, question.end);
  const bytes = new Uint8Array(size);
  bytes.set(query.subarray(0, question.end));
  const asked = get16(query, 2) & flag.RECURSION_DESIRED;
  put16(bytes, 2, flag.RESPONSE | asked | flag.RECURSION_AVAILABLE | code);
  put16(bytes, 6, addresses.length);
  put32(bytes, 8, 0);
  let at = question.end;
  for (const address of addresses) {
    // The name is the question's.
    put16(bytes, at, 0xc000 | dnsHeader);
    put16(bytes, at + 2, address.length === 4 ? dnsType.A : dnsType.AAAA);
    put16(bytes, at + 4, 1);
    put32(bytes, at + 6, seconds);
    put16(bytes, at + 10, address.length);
    bytes.set(address, at + 12);
    at += 12 + address.length;
  }
  return bytes;
}

/** Says no to a query of which not even the question can be read. */
export function refusalOf(query: Uint8Array, code: number): Uint8Array {
  const bytes = query.slice(0, dnsHeader);
  put16(bytes, 2, flag.RESPONSE | (get16(query, 2) & (flag.RECURSION_DESIRED | 0x7800)) | code);
  bytes.fill(0, 4);
  return bytes;
}

/** An answer, or when there is no room for it, the question and word that there is more over TCP. */
export function fitted(answer: Uint8Array, question: DnsQuestion, room: number): Uint8Array {
  if (answer.length <= room) return answer;
  const short = answer.slice(0, question.end);
  put16(short, 2, get16(short, 2) | flag.TRUNCATED);
  put16(short, 4, 1);
  short.fill(0, 6, dnsHeader);
  return short;
}

/** True when a message answers this query: the same number, and the same question as far as it is repeated. */
export function answers(answer: Uint8Array, query: Uint8Array, question: DnsQuestion): boolean {
  if (answer.length < dnsHeader || get16(answer, 0) !== question.id || (answer[2]! & 0x80) === 0)
    return false;
  if (get16(answer, 4) === 0) return true;
  if (answer.length < question.end) return false;
  for (let at = dnsHeader; at < question.end; at++) {
    // Letters may come back in another case, and nothing else may.
    if (answer[at] !== query[at] && (answer[at]! | 0x20) !== (query[at]! | 0x20)) return false;
  }
  return true;
}

/** The code of an answer. */
export function codeOf(answer: Uint8Array): number {
  return answer[3]! & 0x0f;
}
