import { intercept, type V86Io } from '../emulator.ts';

/** Who answers a range of I/O ports. Offsets count from its first port, widths are 1, 2 or 4 bytes. */
export interface PortHandler {
  /** `undefined` leaves the access to v86. */
  read(offset: number, width: number): number | undefined;
  /** False leaves the access to v86. */
  write(offset: number, width: number, value: number): boolean;
}

/** A range of ports that is answered for; kept to be removed. */
export interface PortRange {
  readonly first: number;
  readonly count: number;
  readonly handler: PortHandler;
}

const portCount = 0x10000;

/**
 * Stands between the guest and v86's own port table: ranges added here answer first. v86 moves entries of its
 * table when a guest moves one of its devices; what is mapped here stays.
 */
export class PortMap {
  /** For each port, 1 + the index of the range that answers, or 0. The last range that was added wins. */
  readonly #owner: Uint8Array = new Uint8Array(portCount);
  #ranges: PortRange[] = [];

  constructor(io: V86Io) {
    intercept(io, 'port_read8', (original) => (port) => this.#read(port, 1) ?? original(port));
    intercept(io, 'port_read16', (original) => (port) => this.#read(port, 2) ?? original(port));
    intercept(io, 'port_read32', (original) => (port) => this.#read(port, 4) ?? original(port));
    intercept(io, 'port_write8', (original) => (port, value) => {
      if (!this.#write(port, 1, value & 0xff)) original(port, value);
    });
    intercept(io, 'port_write16', (original) => (port, value) => {
      if (!this.#write(port, 2, value & 0xffff)) original(port, value);
    });
    intercept(io, 'port_write32', (original) => (port, value) => {
      if (!this.#write(port, 4, value >>> 0)) original(port, value);
    });
  }

  /** Maps a range; ports beyond 0xFFFF do not exist and answer nobody. */
  add(first: number, count: number, handler: PortHandler): PortRange {
    const range = { first, count, handler };
    this.#ranges.push(range);
    this.#index();
    return range;
  }

  remove(range: PortRange): void {
    this.#ranges = this.#ranges.filter((other) => other !== range);
    this.#index();
  }

  #index(): void {
    this.#owner.fill(0);
    for (const [i, { first, count }] of this.#ranges.entries()) this.#owner.fill(i + 1, first, first + count);
  }

  #read(port: number, width: number): number | undefined {
    const owner = this.#owner[port]!;
    if (owner === 0) return undefined;
    const range = this.#ranges[owner - 1]!;
    return range.handler.read(port - range.first, width);
  }

  #write(port: number, width: number, value: number): boolean {
    const owner = this.#owner[port]!;
    if (owner === 0) return false;
    const range = this.#ranges[owner - 1]!;
    return range.handler.write(port - range.first, width, value);
  }
}
