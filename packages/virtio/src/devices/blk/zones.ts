import { UsageError } from '../../errors.ts';
import type { StructValue } from '../../spec/layout.ts';
import { requestStatus } from './spec-requests.ts';
import { type virtio_blk_zone_descriptor, zoneState, zoneType } from './spec-zones.ts';

/** How a disk is cut into zones; sectors. */
export interface ZoneLayout {
  readonly capacity: number;
  readonly zoneSectors: number;
  /** Sectors of a sequential zone that can be written, from its start. */
  readonly zoneCapacity: number;
  /** Zones at the start of the disk that are conventional. */
  readonly conventional: number;
  /** The others are SWR when true (host-managed), else SWP (host-aware). */
  readonly writeRequired: boolean;
  /** 0 for no limit. */
  readonly maxOpen: number;
  readonly maxActive: number;
  /** Sectors. */
  readonly writeGranularity: number;
}

/** The states and write pointers of all zones: JSON, to be kept with the disk's bytes. */
export interface ZonesState {
  /** VIRTIO_BLK_ZS_*. */
  readonly states: readonly number[];
  /** Absolute sectors; the zone's start where it has no write pointer. */
  readonly writePointers: readonly number[];
}

/** A part of a range of sectors that lies on one side of a write pointer. */
export interface Run {
  readonly sector: number;
  readonly count: number;
  /** False for sectors that hold nothing that was written. */
  readonly written: boolean;
}

const { NOT_WP, EMPTY, IOPEN, EOPEN, CLOSED, RDONLY, FULL, OFFLINE } = zoneState;
const { OK, ZONE_INVALID_CMD, ZONE_UNALIGNED_WP, ZONE_OPEN_RESOURCE, ZONE_ACTIVE_RESOURCE } = requestStatus;

/** A z_wp where the zone has no valid write pointer. */
const noWritePointer = 2n ** 64n - 1n;

const isOpen = (state: number): boolean => state === IOPEN || state === EOPEN;
const isActive = (state: number): boolean => isOpen(state) || state === CLOSED;

/**
 * The zones of a disk: their states, write pointers, and the open and active zones there may be. It moves no
 * data; every method that can be refused answers with a request status.
 *
 * @spec 5.2.6.2 device: Device Types / Block Device / Device Operation
 */
export class Zones {
  readonly layout: ZoneLayout;
  /** How many zones there are; the last may be smaller. */
  readonly count: number;
  readonly #states: Uint8Array;
  readonly #pointers: Float64Array;
  #open = 0;
  #active = 0;

  constructor(layout: ZoneLayout) {
    this.layout = layout;
    this.count = Math.ceil(layout.capacity / layout.zoneSectors);
    this.#states = new Uint8Array(this.count);
    this.#pointers = new Float64Array(this.count);
    for (let zone = 0; zone < this.count; zone++) {
      this.#states[zone] = this.isSequential(zone) ? EMPTY : NOT_WP;
      this.#pointers[zone] = this.start(zone);
    }
  }

  /** The zone that holds a sector. */
  zoneOf(sector: number): number {
    return Math.floor(sector / this.layout.zoneSectors);
  }

  start(zone: number): number {
    return zone * this.layout.zoneSectors;
  }

  /** The first sector behind the zone. */
  end(zone: number): number {
    return Math.min(this.start(zone + 1), this.layout.capacity);
  }

  isSequential(zone: number): boolean {
    return zone >= this.layout.conventional;
  }

  /** VIRTIO_BLK_ZS_*. */
  state(zone: number): number {
    return this.#states[zone] ?? OFFLINE;
  }

  /** Where the next write goes; an absolute sector. */
  writePointer(zone: number): number {
    return this.#pointers[zone] ?? 0;
  }

  /** OK when a request may read the range, which is within the disk. */
  checkRead(sector: number, count: number): number {
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      if (this.state(zone) === OFFLINE) return ZONE_INVALID_CMD;
      if (this.#isRequired(zone) && first !== last) return ZONE_INVALID_CMD;
    }
    return OK;
  }

  /** OK when a request may change the range, which is within the disk, as far as its place goes. */
  checkWrite(sector: number, count: number): number {
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      const refusal = this.#checkWrite(zone, sector, count, first !== last);
      if (refusal !== OK) return refusal;
    }
    return OK;
  }

  /** A range cut at the write pointers. */
  runs(sector: number, count: number): Run[] {
    const runs: Run[] = [];
    const add = (from: number, to: number, written: boolean): void => {
      if (from < to) runs.push({ sector: from, count: to - from, written });
    };
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      const from = Math.max(sector, this.start(zone));
      const to = Math.min(sector + count, this.end(zone));
      const edge = Math.min(Math.max(this.#writtenEnd(zone), from), to);
      add(from, edge, true);
      add(edge, to, false);
    }
    return runs;
  }

  /**
   * OK when the range may be written now; its zones are then open. `wrote` must follow when it was. The range
   * is within the disk and not empty.
   */
  beginWrite(sector: number, count: number): number {
    const refused = this.checkWrite(sector, count);
    if (refused !== OK) return refused;
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      const state = this.state(zone);
      if (!this.isSequential(zone) || isOpen(state) || state === FULL) continue;
      const refusal = this.#enterOpen(zone, IOPEN);
      if (refusal !== OK) return refusal;
    }
    return OK;
  }

  /** Sectors between a write pointer and a write beyond it: they must read as unwritten afterwards. */
  gaps(sector: number, count: number): Run[] {
    const gaps: Run[] = [];
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      const from = this.#writtenEnd(zone);
      const to = Math.max(sector, this.start(zone));
      if (from < to) gaps.push({ sector: from, count: to - from, written: false });
    }
    return gaps;
  }

  /** Moves the write pointers behind a range that was written. */
  wrote(sector: number, count: number): void {
    const [first, last] = this.#zonesOf(sector, count);
    for (let zone = first; zone <= last; zone++) {
      if (!this.isSequential(zone)) continue;
      const to = Math.min(sector + count, this.end(zone));
      this.#pointers[zone] = Math.max(this.writePointer(zone), to);
      if (this.writePointer(zone) >= this.#writableEnd(zone)) this.#enter(zone, FULL);
    }
  }

  /** Where an append of so many sectors will go: a sector, or why it cannot. */
  beginAppend(sector: number, count: number): { readonly status: number; readonly sector: number } {
    const zone = this.zoneOf(sector);
    if (!this.#isRequired(zone) || sector !== this.start(zone)) return { status: ZONE_INVALID_CMD, sector };
    const at = this.writePointer(zone);
    return { status: count === 0 ? OK : this.beginWrite(at, count), sector: at };
  }

  open(sector: number): number {
    const zone = this.#managed(sector);
    if (zone === undefined) return ZONE_INVALID_CMD;
    const state = this.state(zone);
    if (state === EOPEN) return OK;
    if (state === FULL) return ZONE_INVALID_CMD;
    return this.#enterOpen(zone, EOPEN);
  }

  close(sector: number): number {
    const zone = this.#managed(sector);
    if (zone === undefined || !isActive(this.state(zone))) return ZONE_INVALID_CMD;
    this.#close(zone);
    return OK;
  }

  /** Closed and empty zones can be finished too, as in the standards beneath: a driver cannot tell them apart. */
  finish(sector: number): number {
    const zone = this.#managed(sector);
    if (zone === undefined) return ZONE_INVALID_CMD;
    if (this.state(zone) === FULL) return OK;
    this.#enter(zone, FULL);
    return OK;
  }

  /** OK when the zone that starts at the sector can be reset: `reset` does. */
  checkReset(sector: number): number {
    return this.#managed(sector) === undefined ? ZONE_INVALID_CMD : OK;
  }

  /** The zone is empty from now on. */
  reset(zone: number): void {
    this.#enter(zone, EMPTY);
    this.#pointers[zone] = this.start(zone);
  }

  /** The zones that RESET_ALL resets. */
  resettable(): number[] {
    const zones: number[] = [];
    for (let zone = 0; zone < this.count; zone++) {
      const state = this.state(zone);
      if (isActive(state) || state === FULL) zones.push(zone);
    }
    return zones;
  }

  /** The zone failed: it can be read, or not even that. An offline zone stays so. */
  fail(zone: number, state: 'RDONLY' | 'OFFLINE'): void {
    if (!Number.isInteger(zone) || zone < 0 || zone >= this.count || !this.isSequential(zone)) {
      throw new UsageError('BAD_ARGUMENT', `there is no sequential zone ${zone}`);
    }
    if (this.state(zone) !== OFFLINE) this.#enter(zone, zoneState[state]);
  }

  descriptor(zone: number): StructValue<(typeof virtio_blk_zone_descriptor)['codecs']> {
    const state = this.state(zone);
    const sequential = zoneType[this.layout.writeRequired ? 'SWR' : 'SWP'];
    const pointed = state === EMPTY || isActive(state);
    return {
      z_cap: BigInt(this.#writableEnd(zone) - this.start(zone)),
      z_start: BigInt(this.start(zone)),
      z_wp: pointed ? BigInt(this.writePointer(zone)) : noWritePointer,
      z_type: this.isSequential(zone) ? sequential : zoneType.CONV,
      z_state: state,
      reserved: new Uint8Array(),
    };
  }

  save(): ZonesState {
    return { states: Array.from(this.#states), writePointers: Array.from(this.#pointers) };
  }

  /** @throws {UsageError} BAD_STATE when the state is of other zones, or breaks their limits. */
  restore(saved: ZonesState): void {
    if (!this.#fits(saved)) throw new UsageError('BAD_STATE', 'the saved zones are not those of this disk');
    this.#states.set(saved.states);
    this.#pointers.set(saved.writePointers);
    this.#open = saved.states.filter(isOpen).length;
    this.#active = saved.states.filter(isActive).length;
  }

  #fits({ states, writePointers }: ZonesState): boolean {
    if (states.length !== this.count || writePointers.length !== this.count) return false;
    const { maxOpen, maxActive } = this.layout;
    if (maxOpen !== 0 && states.filter(isOpen).length > maxOpen) return false;
    if (maxActive !== 0 && states.filter(isActive).length > maxActive) return false;
    const known = new Set<number>(Object.values(zoneState));
    return states.every((state, zone) => {
      const pointer = writePointers[zone] ?? -1;
      const inZone = Number.isInteger(pointer) && pointer >= this.start(zone) && pointer <= this.end(zone);
      return inZone && known.has(state) && (state === NOT_WP) === !this.isSequential(zone);
    });
  }

  /** First and last zone of a range; an empty range lies in the zone of its sector. */
  #zonesOf(sector: number, count: number): [first: number, last: number] {
    return [this.zoneOf(sector), this.zoneOf(sector + Math.max(count, 1) - 1)];
  }

  #isRequired(zone: number): boolean {
    return this.layout.writeRequired && this.isSequential(zone);
  }

  /** The first sector behind what a zone can hold. */
  #writableEnd(zone: number): number {
    if (!this.isSequential(zone)) return this.end(zone);
    return Math.min(this.start(zone) + this.layout.zoneCapacity, this.end(zone));
  }

  /** The first sector behind what was written. A finished zone holds no more than it did before. */
  #writtenEnd(zone: number): number {
    return this.isSequential(zone) ? this.writePointer(zone) : this.end(zone);
  }

  /** The zone that starts at a sector, if it is one that a driver can manage in its present state. */
  #managed(sector: number): number | undefined {
    const zone = this.zoneOf(sector);
    const state = this.state(zone);
    const fits = sector === this.start(zone) && this.isSequential(zone);
    return fits && state !== RDONLY && state !== OFFLINE ? zone : undefined;
  }

  #checkWrite(zone: number, sector: number, count: number, several: boolean): number {
    const state = this.state(zone);
    if (state === RDONLY || state === OFFLINE) return ZONE_INVALID_CMD;
    if (!this.#isRequired(zone)) return OK;
    const end = sector + count;
    const pointer = this.writePointer(zone);
    if (several || state === FULL || end > this.#writableEnd(zone)) return ZONE_INVALID_CMD;
    if (pointer + count > this.#writableEnd(zone)) return ZONE_INVALID_CMD;
    if (sector !== pointer || end % this.layout.writeGranularity !== 0) return ZONE_UNALIGNED_WP;
    return OK;
  }

  /** Opens a zone, closing another that was opened implicitly when there are too many. */
  #enterOpen(zone: number, state: typeof IOPEN | typeof EOPEN): number {
    const { maxOpen, maxActive } = this.layout;
    const now = this.state(zone);
    if (!isActive(now) && maxActive !== 0 && this.#active >= maxActive) return ZONE_ACTIVE_RESOURCE;
    if (!isOpen(now) && maxOpen !== 0 && this.#open >= maxOpen) {
      const idle = this.#states.indexOf(IOPEN);
      if (idle === -1) return ZONE_OPEN_RESOURCE;
      this.#close(idle);
    }
    this.#enter(zone, state);
    return OK;
  }

  #close(zone: number): void {
    this.#enter(zone, this.writePointer(zone) > this.start(zone) ? CLOSED : EMPTY);
  }

  #enter(zone: number, state: number): void {
    const before = this.state(zone);
    this.#open += Number(isOpen(state)) - Number(isOpen(before));
    this.#active += Number(isActive(state)) - Number(isActive(before));
    this.#states[zone] = state;
  }
}
