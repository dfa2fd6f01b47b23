import { get16, get32, put16, put32 } from '../link/bytes.ts';

/** Where fields of a message lie: RFC 2131, 2. */
const field = Object.freeze({
  OPERATION: 0,
  HARDWARE: 1,
  HARDWARE_LENGTH: 2,
  TRANSACTION: 4,
  FLAGS: 10,
  CLIENT: 12,
  YOURS: 16,
  NEXT_SERVER: 20,
  RELAY: 24,
  MAC: 28,
  BOOT_FILE: 108,
  COOKIE: 236,
  OPTIONS: 240,
} as const);

const cookie = 0x6382_5363;
/** Bytes that every client takes: RFC 2131, 2, without the headers of IP and UDP. */
const dhcpLength = 548;
/** The shortest that clients of old take. */
const leastLength = 300;

/** Options: RFC 2132 and its successors. */
export const dhcpOption = Object.freeze({
  PAD: 0,
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOSTNAME: 12,
  DOMAIN: 15,
  MTU: 26,
  BROADCAST: 28,
  REQUESTED: 50,
  LEASE_TIME: 51,
  OVERLOAD: 52,
  TYPE: 53,
  SERVER: 54,
  RENEW: 58,
  REBIND: 59,
  CLIENT: 61,
  BOOT_SERVER: 66,
  BOOT_FILE: 67,
  RAPID_COMMIT: 80,
  SEARCH: 119,
  END: 255,
} as const);

export const dhcpType = Object.freeze({
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const);

/** What a client says. */
export interface DhcpRequest {
  /** 0 from a client of BOOTP. */
  readonly type: number;
  readonly transaction: number;
  /** Answers are to go to all stations. */
  readonly broadcast: boolean;
  /** The address that it has. */
  readonly client: Uint8Array;
  readonly mac: Uint8Array;
  /** The 16 bytes of the field that holds it. */
  readonly hardware: Uint8Array;
  /** By what its lease is known. */
  readonly identity: string;
  readonly requested: Uint8Array | undefined;
  readonly server: Uint8Array | undefined;
  readonly rapidCommit: boolean;
}

/** Reads a message of a client; `undefined` when it is none, or came through a relay. */
export function readDhcp(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < field.OPTIONS || bytes[field.OPERATION] !== 1) return undefined;
  if (bytes[field.HARDWARE] !== 1 || bytes[field.HARDWARE_LENGTH] !== 6) return undefined;
  if (get32(bytes, field.COOKIE) !== cookie || get32(bytes, field.RELAY) !== 0) return undefined;
  const options = readOptions(bytes);
  const hardware = bytes.slice(field.MAC, field.MAC + 16);
  const mac = hardware.subarray(0, 6);
  if (options === undefined || (mac[0]! & 1) !== 0) return undefined;
  const address = (code: number): Uint8Array | undefined => {
    const value = options.get(code);
    return value?.length === 4 ? value : undefined;
  };
  const client = options.get(dhcpOption.CLIENT);
  return {
    type: options.get(dhcpOption.TYPE)?.[0] ?? 0,
    transaction: get32(bytes, field.TRANSACTION),
    broadcast: (get16(bytes, field.FLAGS) & 0x8000) !== 0,
    client: bytes.slice(field.CLIENT, field.CLIENT + 4),
    mac,
    hardware,
    identity: client === undefined ? `mac ${mac.join()}` : `id ${client.join()}`,
    requested: address(dhcpOption.REQUESTED),
    server: address(dhcpOption.SERVER),
    rapidCommit: options.has(dhcpOption.RAPID_COMMIT),
  };
}

/** The options by their codes, each as it came last; `undefined` when they do not end where they say. */
function readOptions(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  for (let at: number = field.OPTIONS; at < bytes.length; ) {
    const code = bytes[at]!;
    if (code === dhcpOption.END) return options;
    if (code === dhcpOption.PAD) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) return undefined;
    options.set(code, bytes.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  // Clients of BOOTP need not end them.
  return options;
}

/** Writes an answer, option by option. */
export class DhcpAnswer {
  readonly bytes: Uint8Array;
  #at: number = field.OPTIONS;

  /** Begins one in `bytes`, of which the first `dhcpLength` are used. */
  constructor(bytes: Uint8Array, request: DhcpRequest) {
    this.bytes = bytes;
    bytes.fill(0, 0, dhcpLength);
    bytes[field.OPERATION] = 2;
    bytes[field.HARDWARE] = 1;
    bytes[field.HARDWARE_LENGTH] = 6;
    put32(bytes, field.TRANSACTION, request.transaction);
    put16(bytes, field.FLAGS, request.broadcast ? 0x8000 : 0);
    bytes.set(request.hardware, field.MAC);
    put32(bytes, field.COOKIE, cookie);
  }

  addresses(
    client: Uint8Array | undefined,
    yours: Uint8Array | undefined,
    next: Uint8Array | undefined,
  ): void {
    if (client !== undefined) this.bytes.set(client, field.CLIENT);
    if (yours !== undefined) this.bytes.set(yours, field.YOURS);
    if (next !== undefined) this.bytes.set(next, field.NEXT_SERVER);
  }

  bootFile(name: string): void {
    this.bytes.set(ascii(name), field.BOOT_FILE);
  }

  /** Adds an option, or leaves it out when there is no room for it and the end. */
  option(code: number, value: Uint8Array): void {
    if (value.length > 255 || this.#at + 2 + value.length >= dhcpLength) return;
    this.bytes[this.#at] = code;
    this.bytes[this.#at + 1] = value.length;
    this.bytes.set(value, this.#at + 2);
    this.#at += 2 + value.length;
  }

  text(code: number, value: string | undefined): void {
    if (value !== undefined && value !== '') this.option(code, ascii(value));
  }

  number(code: number, value: number, bytes: 2 | 4): void {
    const field = new Uint8Array(bytes);
    if (bytes === 2) put16(field, 0, value);
    else put32(field, 0, value);
    this.option(code, field);
  }

  /** Ends it. Returns its length. */
  end(): number {
    this.bytes[this.#at] = dhcpOption.END;
    return Math.max(leastLength, this.#at + 1);
  }
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
