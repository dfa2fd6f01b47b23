/** Bytes of a request's head, and of its body, that are held. */
const mostHead = 64 * 1024;

/** A request of HTTP/1, whole. */
export interface HttpRequest {
  readonly method: string;
  /** As the guest wrote it: a path, or a whole address from one that thinks this is a proxy. */
  readonly target: string;
  /** With names in small letters. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array<ArrayBuffer>;
  /** The connection may be used again. */
  readonly keepAlive: boolean;
  /** The guest understands chunks: it speaks HTTP/1.1. */
  readonly chunks: boolean;
}

type Head = Omit<HttpRequest, 'body'>;

/** Why a request is not answered by anybody but us. */
export type HttpRefusal = 400 | 413 | 431 | 501;

/** Takes the bytes of requests, one behind the other, and finds where each ends. */
export class HttpReader {
  readonly #mostBody: number;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array();
  #head: Head | undefined;
  /** Where in `bytes` the rest of the body begins. */
  #at = 0;
  /** Bytes of body that are to come; of chunks, what the next one's are. -1 between two chunks. */
  #left = 0;
  #chunked = false;
  #body: Uint8Array[] = [];
  #bodyBytes = 0;

  constructor(mostBody: number) {
    this.#mostBody = mostBody;
  }

  /** Takes more bytes, which are lent. */
  add(bytes: Uint8Array): void {
    const rest = this.#bytes.length - this.#at;
    const all = new Uint8Array(rest + bytes.length);
    all.set(this.#bytes.subarray(this.#at));
    all.set(bytes, rest);
    this.#bytes = all;
    this.#at = 0;
  }

  /** The next request, if it is whole; a number when it cannot be served, after which there is none. */
  next(): HttpRequest | HttpRefusal | undefined {
    if (this.#head === undefined) {
      const head = this.#readHead();
      if (head === undefined || typeof head === 'number') return head;
      this.#head = head;
    }
    const refused = this.#chunked ? this.#readChunks() : this.#readBody(this.#left);
    if (refused !== undefined) return refused === 'more' ? undefined : refused;
    const body = new Uint8Array(this.#bodyBytes);
    let at = 0;
    for (const part of this.#body) {
      body.set(part, at);
      at += part.length;
    }
    const request = { ...this.#head, body };
    this.#head = undefined;
    this.#body = [];
    this.#bodyBytes = 0;
    return request;
  }

  #readHead(): Head | HttpRefusal | undefined {
    const end = this.#find([13, 10, 13, 10]);
    if (end === -1) return this.#bytes.length - this.#at > mostHead ? 431 : undefined;
    if (end - this.#at > mostHead) return 431;
    const lines = this.#text(this.#at, end).split('\r\n');
    this.#at = end + 4;
    const [, method, target, minor] = /^([A-Z]{1,32}) (\S+) HTTP\/1\.([01])$/.exec(lines[0] ?? '') ?? [];
    if (method === undefined || target === undefined) return 400;
    const headers: [string, string][] = [];
    for (const line of lines.slice(1)) {
      const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
      if (name === undefined || value === undefined) return 400;
      headers.push([name.toLowerCase(), value]);
    }
    const all = (wanted: string): string[] =>
      headers.filter(([name]) => name === wanted).map(([, value]) => value);
    const coding = all('transfer-encoding').join().toLowerCase();
    const lengths = new Set(all('content-length'));
    // Whoever says both, or two lengths, wants somebody to be wrong about where it ends.
    if (lengths.size > 1 || (coding !== '' && lengths.size > 0)) return 400;
    if (coding !== '' && coding !== 'chunked') return 501;
    const length = [...lengths][0] ?? '0';
    if (!/^\d{1,15}$/.test(length)) return 400;
    if (Number(length) > this.#mostBody) return 413;
    this.#chunked = coding === 'chunked';
    this.#left = this.#chunked ? -1 : Number(length);
    const connection = all('connection').join().toLowerCase();
    const keepAlive = minor === '1' ? !connection.includes('close') : connection.includes('keep-alive');
    return { method, target, headers, keepAlive, chunks: minor === '1' };
  }

  #readBody(length: number): 'more' | undefined {
    const part = this.#bytes.slice(this.#at, this.#at + length);
    this.#at += part.length;
    this.#left -= part.length;
    this.#bodyBytes += part.length;
    if (part.length > 0) this.#body.push(part);
    return this.#left > 0 ? 'more' : undefined;
  }

  #readChunks(): 'more' | HttpRefusal | undefined {
    for (;;) {
      if (this.#left > 0 && this.#readBody(this.#left) === 'more') return 'more';
      if (this.#left === 0) {
        // The end of the chunk's line.
        if (this.#bytes.length - this.#at < 2) return 'more';
        if (this.#bytes[this.#at] !== 13 || this.#bytes[this.#at + 1] !== 10) return 400;
        this.#at += 2;
        this.#left = -1;
      }
      const end = this.#find([13, 10]);
      if (end === -1) return this.#bytes.length - this.#at > 1024 ? 400 : 'more';
      const [, size] = /^([0-9a-f]{1,8})(?:[ \t]*;.*)?$/i.exec(this.#text(this.#at, end)) ?? [];
      if (size === undefined) return 400;
      const length = Number.parseInt(size, 16);
      if (this.#bodyBytes + length > this.#mostBody) return 413;
      if (length === 0) {
        // Trailers say nothing that is needed, and are followed by an empty line.
        const last = this.#find([13, 10, 13, 10]);
        if (last === -1) return this.#bytes.length - this.#at > mostHead ? 431 : 'more';
        this.#at = last + 4;
        return undefined;
      }
      this.#at = end + 2;
      this.#left = length;
    }
  }

  #find(wanted: readonly number[]): number {
    const bytes = this.#bytes;
    for (let at = this.#at; at + wanted.length <= bytes.length; at++) {
      let length = 0;
      while (length < wanted.length && bytes[at + length] === wanted[length]) length++;
      if (length === wanted.length) return at;
    }
    return -1;
  }

  #text(from: number, to: number): string {
    let text = '';
    for (let at = from; at < to; at++) text += String.fromCharCode(this.#bytes[at]!);
    return text;
  }
}
