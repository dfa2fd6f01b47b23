import type { StreamEnd, StreamUser, Target, Uplink } from '../uplink.ts';
import { HttpReader, type HttpRefusal, type HttpRequest } from './http-request.ts';

/** What is used of a response, so that the `fetch` of any engine will do. */
export interface ResponseLike {
  readonly status: number;
  readonly statusText: string;
  readonly headers: { forEach(visit: (value: string, name: string) => void): void };
  readonly body: {
    getReader(): {
      read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
      cancel(): Promise<void>;
    };
  } | null;
}

/** What `fetch` is asked. */
export interface FetchInit {
  readonly method: string;
  readonly headers: [string, string][];
  readonly body?: Uint8Array<ArrayBuffer>;
}

/** What answers guests. */
export interface FetchOptions {
  /** `fetch` itself, or what stands for it. */
  readonly fetch: (url: string, init: FetchInit) => Promise<ResponseLike>;
  /** Where a request really goes, for instance to a proxy, or to `https:`. */
  readonly rewrite?: ((url: string) => string) | undefined;
  /** Ports at which guests find it; 80 alone unless told. */
  readonly ports?: readonly number[] | undefined;
  /** Bytes of a request's body that are held; 16 MiB unless told. */
  readonly mostBody?: number | undefined;
}

/** Headers that belong to a connection, or that `fetch` has undone or does itself. */
const ofConnection = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const refusals: Readonly<Record<HttpRefusal | 502, string>> = Object.freeze({
  400: 'Bad Request',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
});

/**
 * The web by `fetch`, which every page has: requests of HTTP that guests make are answered by it, and all else is refused.
 * What a page may not fetch, a guest may not either.
 */
export function fetchUplink(options: FetchOptions): Uplink {
  const { ports = [80] } = options;
  return {
    wantsNames: true,
    connect(target, user) {
      if (ports.includes(target.port)) return new FetchStream(options, target, user);
      void Promise.resolve().then(() => user.failed('refused'));
      return nowhere;
    },
  };
}

/** The far end of a stream that never was. */
const nowhere: StreamEnd = Object.freeze({
  write: () => true,
  give: () => true,
  room() {},
  end() {},
  abort() {},
});

/** A connection that is spoken HTTP over. */
class FetchStream implements StreamEnd {
  readonly #options: FetchOptions;
  readonly #target: Target;
  readonly #user: StreamUser;
  readonly #reader: HttpReader;
  /** A request is being answered, and what comes meanwhile waits. */
  #busy = false;
  #waiting = false;
  #guestEnded = false;
  #over = false;
  #roomWanted: (() => void) | undefined;

  constructor(options: FetchOptions, target: Target, user: StreamUser) {
    this.#options = options;
    this.#target = target;
    this.#user = user;
    this.#reader = new HttpReader(options.mostBody ?? 16 << 20);
    void Promise.resolve().then(() => {
      if (!this.#over) user.opened();
    });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    this.#reader.add(bytes);
    this.#serve();
    this.#waiting = this.#busy;
    return !this.#busy;
  }

  give(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  room(): void {
    const wanted = this.#roomWanted;
    this.#roomWanted = undefined;
    wanted?.();
  }

  end(): void {
    this.#guestEnded = true;
    if (!this.#busy) this.#finish();
  }

  abort(): void {
    this.#over = true;
    this.room();
  }

  #serve(): void {
    if (this.#busy || this.#over) return;
    const request = this.#reader.next();
    if (request === undefined) {
      if (this.#guestEnded) this.#finish();
      return;
    }
    this.#busy = true;
    void this.#answer(request).then(
      (again) => {
        this.#busy = false;
        if (!again) this.#finish();
        if (this.#over) return;
        this.#serve();
        if (this.#busy || !this.#waiting) return;
        this.#waiting = false;
        this.#user.room();
      },
      () => {
        // In the midst of an answer there is nothing else that could be said.
        if (!this.#over) this.#user.abort('reset');
        this.#over = true;
      },
    );
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#user.end();
  }

  /** Answers a request. False when the connection ends with that. */
  async #answer(request: HttpRequest | HttpRefusal): Promise<boolean> {
    if (typeof request === 'number') {
      await this.#refuse(request);
      return false;
    }
    const { method, body, chunks } = request;
    let response: ResponseLike;
    try {
      const headers: [string, string][] = [];
      for (const [name, value] of request.headers) if (!ofConnection.has(name)) headers.push([name, value]);
      const init = { method, headers };
      const sent = body.length > 0 && method !== 'GET' && method !== 'HEAD' ? { ...init, body } : init;
      const url = this.#urlOf(request);
      response = await this.#options.fetch(this.#options.rewrite?.(url) ?? url, sent);
    } catch {
      await this.#refuse(502);
      return false;
    }
    const bodiless = method === 'HEAD' || response.status === 204 || response.status === 304;
    const keepAlive = request.keepAlive && (chunks || bodiless);
    const lines = [`HTTP/1.1 ${response.status} ${response.statusText}`];
    response.headers.forEach((value, name) => {
      if (!ofConnection.has(name.toLowerCase())) lines.push(`${name}: ${value}`);
    });
    if (!keepAlive) lines.push('connection: close');
    if (chunks && !bodiless) lines.push('transfer-encoding: chunked');
    await this.#send(latin1(`${lines.join('\r\n')}\r\n\r\n`));
    if (!bodiless) await this.#sendBody(response, chunks);
    return keepAlive && !this.#over;
  }

  async #sendBody(response: ResponseLike, chunks: boolean): Promise<void> {
    const reader = response.body?.getReader();
    for (let next = await reader?.read(); next !== undefined && !next.done; next = await reader?.read()) {
      const { value } = next;
      if (this.#over) {
        await reader?.cancel();
        return;
      }
      if (value === undefined || value.length === 0) continue;
      if (chunks) await this.#send(latin1(`${value.length.toString(16)}\r\n`));
      await this.#send(value);
      if (chunks) await this.#send(latin1('\r\n'));
    }
    if (chunks) await this.#send(latin1('0\r\n\r\n'));
  }

  async #refuse(status: keyof typeof refusals): Promise<void> {
    const text = `${status} ${refusals[status]}`;
    const head = `HTTP/1.1 ${text}\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${text.length}`;
    await this.#send(latin1(`${head}\r\n\r\n${text}`));
  }

  async #send(bytes: Uint8Array): Promise<void> {
    if (this.#over || this.#user.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#roomWanted = resolve;
    });
  }

  #urlOf({ target, headers }: HttpRequest): string {
    if (/^https?:\/\//i.test(target)) return target;
    const { name, address, port } = this.#target;
    const host = headers.find(([header]) => header === 'host')?.[1];
    const otherwise = port === 80 ? (name ?? address) : `${name ?? address}:${port}`;
    return `http://${host ?? otherwise}${target.startsWith('/') ? target : '/'}`;
  }
}

function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
