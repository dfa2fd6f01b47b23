import type { HostFile } from './host-file.ts';

/** Which clusters hold metadata, and what of it: a disk's data never goes there, whatever the image says. */
export class Occupied {
  readonly #host: HostFile;
  readonly #clusterSize: number;
  readonly #clusters = new Map<number, string>();

  constructor(host: HostFile, clusterSize: number) {
    this.#host = host;
    this.#clusterSize = clusterSize;
  }

  /** @throws {HostError} BAD_IMAGE when the range is not in the file, no whole clusters, or holds something else. */
  claim(offset: number, length: number, what: string): void {
    // The last cluster need not be written whole.
    const clusters = Math.ceil(this.#host.end / this.#clusterSize);
    if (offset % this.#clusterSize !== 0 || offset + length > clusters * this.#clusterSize) {
      throw this.#host.corrupt(`its ${what} is said to be at ${offset}, which is no cluster of it`);
    }
    const first = offset / this.#clusterSize;
    const count = Math.ceil(length / this.#clusterSize);
    for (let cluster = first; cluster < first + count; cluster++) {
      const other = this.#clusters.get(cluster);
      if (other !== undefined) throw this.#overlap(cluster, what, other);
      this.#clusters.set(cluster, what);
    }
  }

  /** As `claim`, for a cluster that was chosen here. */
  take(cluster: number, what: string): void {
    this.#clusters.set(cluster, what);
  }

  release(cluster: number): void {
    this.#clusters.delete(cluster);
  }

  has(cluster: number): boolean {
    return this.#clusters.has(cluster);
  }

  /** @throws {HostError} BAD_IMAGE when the cluster holds metadata. */
  check(cluster: number, what: string): void {
    const other = this.#clusters.get(cluster);
    if (other !== undefined) throw this.#overlap(cluster, what, other);
  }

  #overlap(cluster: number, what: string, other: string): Error {
    return this.#host.corrupt(`its ${what} at ${cluster * this.#clusterSize} lies on its ${other}`);
  }
}
