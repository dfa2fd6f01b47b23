import type { Connection } from './connection.ts';
import type { KeyedHash } from './keyed-hash.ts';

/** All connections, by the addresses and ports of both ends. Nobody can choose them so that they share a bucket. */
export class Table {
  readonly #hash: KeyedHash;
  readonly #buckets = new Map<number, Connection>();
  /** The one that was found last: segments of one connection come in a row. */
  #last: Connection | undefined;
  size = 0;

  constructor(hash: KeyedHash) {
    this.#hash = hash;
  }

  find(local: Uint8Array, localPort: number, remote: Uint8Array, remotePort: number): Connection | undefined {
    const last = this.#last;
    if (last !== undefined && is(last, local, localPort, remote, remotePort)) return last;
    const bucket = this.#bucket(local, localPort, remote, remotePort);
    let found = this.#buckets.get(bucket);
    while (found !== undefined && !is(found, local, localPort, remote, remotePort))
      found = found.nextInBucket;
    if (found !== undefined) this.#last = found;
    return found;
  }

  add(connection: Connection): void {
    const { local, remote } = connection;
    connection.bucket = this.#bucket(local.address, local.port, remote.address, remote.port);
    connection.nextInBucket = this.#buckets.get(connection.bucket);
    this.#buckets.set(connection.bucket, connection);
    this.size++;
  }

  /** Takes one out that is in it. */
  remove(connection: Connection): void {
    if (this.#last === connection) this.#last = undefined;
    this.size--;
    const first = this.#buckets.get(connection.bucket);
    if (first === connection) {
      if (connection.nextInBucket === undefined) this.#buckets.delete(connection.bucket);
      else this.#buckets.set(connection.bucket, connection.nextInBucket);
      return;
    }
    let before = first;
    while (before !== undefined && before.nextInBucket !== connection) before = before.nextInBucket;
    if (before !== undefined) before.nextInBucket = connection.nextInBucket;
  }

  /** All of them, as they are now. */
  all(): Connection[] {
    const all: Connection[] = [];
    for (const first of this.#buckets.values()) {
      for (let one: Connection | undefined = first; one !== undefined; one = one.nextInBucket) all.push(one);
    }
    return all;
  }

  #bucket(local: Uint8Array, localPort: number, remote: Uint8Array, remotePort: number): number {
    return this.#hash
      .begin()
      .bytes(local)
      .bytes(remote)
      .word((localPort << 16) | remotePort)
      .end();
  }
}

function is(
  { local, remote }: Connection,
  localAddress: Uint8Array,
  localPort: number,
  remoteAddress: Uint8Array,
  remotePort: number,
): boolean {
  return (
    remote.port === remotePort &&
    local.port === localPort &&
    same(remote.address, remoteAddress) &&
    same(local.address, localAddress)
  );
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
