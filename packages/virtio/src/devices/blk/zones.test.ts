import { describe, expect, it } from 'vitest';
import { requestStatusName } from './spec-requests.ts';
import { zoneState } from './spec-zones.ts';
import { type ZoneLayout, Zones } from './zones.ts';

const zone = 16;

/** Five zones of 16 sectors, the first conventional, the last of 8 sectors. */
const layout: ZoneLayout = {
  capacity: 4 * zone + 8,
  zoneSectors: zone,
  zoneCapacity: zone,
  conventional: 1,
  writeRequired: true,
  maxOpen: 0,
  maxActive: 0,
  writeGranularity: 1,
};

function zonesOf(changes: Partial<ZoneLayout> = {}) {
  const zones = new Zones({ ...layout, ...changes });
  const name = (status: number): string => requestStatusName(status);
  return {
    zones,
    write(sector: number, count: number): string {
      const status = zones.beginWrite(sector, count);
      if (status === 0) zones.wrote(sector, count);
      return name(status);
    },
    open: (index: number) => name(zones.open(index * zone)),
    close: (index: number) => name(zones.close(index * zone)),
    finish: (index: number) => name(zones.finish(index * zone)),
    reset(index: number): string {
      const status = zones.checkReset(index * zone);
      if (status === 0) zones.reset(index);
      return name(status);
    },
    state: (index: number) =>
      Object.entries(zoneState).find(([, value]) => value === zones.state(index))?.[0],
  };
}

/** The zone 1 in each state that a driver can bring it to. */
const ways: Readonly<Record<string, (z: ReturnType<typeof zonesOf>) => void>> = {
  EMPTY: () => {},
  IOPEN: (z) => void z.write(zone, 4),
  EOPEN: (z) => void z.open(1),
  CLOSED: (z) => {
    z.write(zone, 4);
    z.close(1);
  },
  FULL: (z) => void z.write(zone, zone),
  RDONLY: (z) => z.zones.fail(1, 'RDONLY'),
  OFFLINE: (z) => z.zones.fail(1, 'OFFLINE'),
};

describe('the states of a zone', () => {
  const bad = 'ZONE_INVALID_CMD';
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it.each([
    // state, then: open, close, finish, reset, a write at the write pointer
    ['EMPTY', 'EOPEN', bad, 'FULL', 'EMPTY', 'IOPEN'],
    ['IOPEN', 'EOPEN', 'CLOSED', 'FULL', 'EMPTY', 'IOPEN'],
    ['EOPEN', 'EOPEN', 'EMPTY', 'FULL', 'EMPTY', 'EOPEN'],
    ['CLOSED', 'EOPEN', 'CLOSED', 'FULL', 'EMPTY', 'IOPEN'],
    ['FULL', bad, bad, 'FULL', 'EMPTY', bad],
    ['RDONLY', bad, bad, bad, bad, bad],
    ['OFFLINE', bad, bad, bad, bad, bad],
  ])('from %s: open %s, close %s, finish %s, reset %s, write %s', (from, ...outcomes) => {
    const steps: ((z: ReturnType<typeof zonesOf>) => string)[] = [
      (z) => z.open(1),
      (z) => z.close(1),
      (z) => z.finish(1),
      (z) => z.reset(1),
      (z) => z.write(Math.min(z.zones.writePointer(1), 2 * zone - 2), 2),
    ];
    for (const [index, step] of steps.entries()) {
      const made = zonesOf();
      ways[from]?.(made);
      expect(made.state(1)).toBe(from);
      const result = step(made);
      expect(result === 'OK' ? made.state(1) : result).toBe(outcomes[index]);
      if (result !== 'OK') expect(made.state(1)).toBe(from);
    }
  });

  it('an explicitly open zone that was written to closes as CLOSED', () => {
    const made = zonesOf();
    made.open(1);
    made.write(zone, 1);
    expect(made.state(1)).toBe('EOPEN');
    made.close(1);
    expect(made.state(1)).toBe('CLOSED');
    made.open(1);
    made.write(zone + 1, zone - 1);
    expect(made.state(1)).toBe('FULL');
  });

  it('conventional zones are in no state, cannot be managed, and are written anywhere', () => {
    const made = zonesOf();
    expect(made.state(0)).toBe('NOT_WP');
    for (const step of [made.open, made.close, made.finish, made.reset])
      expect(step(0)).toBe('ZONE_INVALID_CMD');
    expect(made.write(5, 3)).toBe('OK');
    expect(made.write(0, 1)).toBe('OK');
    expect(made.state(0)).toBe('NOT_WP');
  });

  it('only the first sector of a zone names it', () => {
    const { zones } = zonesOf();
    for (const operation of ['open', 'close', 'finish', 'checkReset'] as const) {
      expect(requestStatusName(zones[operation](zone + 1))).toBe('ZONE_INVALID_CMD');
      expect(requestStatusName(zones[operation](2 ** 60))).toBe('ZONE_INVALID_CMD');
    }
  });

  it('offline is for ever', () => {
    const made = zonesOf();
    made.zones.fail(2, 'RDONLY');
    made.zones.fail(2, 'OFFLINE');
    made.zones.fail(2, 'RDONLY');
    expect(made.state(2)).toBe('OFFLINE');
    expect(made.zones.resettable()).toEqual([]);
    expect(() => made.zones.fail(0, 'OFFLINE')).toThrow('no sequential zone');
    expect(() => made.zones.fail(9, 'OFFLINE')).toThrow('no sequential zone');
  });
});

describe('writing to zones', () => {
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('goes on at the write pointer and nowhere else', () => {
    const made = zonesOf();
    expect(made.write(zone + 1, 1)).toBe('ZONE_UNALIGNED_WP');
    expect(made.write(zone, 2)).toBe('OK');
    expect(made.write(zone, 2)).toBe('ZONE_UNALIGNED_WP');
    expect(made.write(zone + 2, 2)).toBe('OK');
    expect(made.zones.writePointer(1)).toBe(zone + 4);
  });

  it('never leaves its zone, nor its capacity', () => {
    const made = zonesOf({ zoneCapacity: 12 });
    expect(made.write(zone, 13)).toBe('ZONE_INVALID_CMD');
    expect(made.write(zone, zone + 1)).toBe('ZONE_INVALID_CMD');
    expect(made.write(zone - 2, 4)).toBe('ZONE_INVALID_CMD');
    expect(made.write(zone, 12)).toBe('OK');
    expect(made.state(1)).toBe('FULL');
    expect(made.write(zone + 12, 1)).toBe('ZONE_INVALID_CMD');
    expect(made.write(4 * zone, 8)).toBe('OK');
    expect(made.state(4)).toBe('FULL');
  });

  it('ends at a multiple of the write granularity', () => {
    const made = zonesOf({ writeGranularity: 8 });
    expect(made.write(zone, 4)).toBe('ZONE_UNALIGNED_WP');
    expect(made.write(zone, 8)).toBe('OK');
  });

  it('appends to sequential zones that are named by their first sector', () => {
    const { zones, write } = zonesOf();
    write(zone, 3);
    expect(zones.beginAppend(zone, 2)).toEqual({ status: 0, sector: zone + 3 });
    expect(requestStatusName(zones.beginAppend(zone + 3, 2).status)).toBe('ZONE_INVALID_CMD');
    expect(requestStatusName(zones.beginAppend(0, 2).status)).toBe('ZONE_INVALID_CMD');
    expect(requestStatusName(zones.beginAppend(zone, 14).status)).toBe('ZONE_INVALID_CMD');
    const aware = new Zones({ ...layout, writeRequired: false });
    expect(requestStatusName(aware.beginAppend(zone, 2).status)).toBe('ZONE_INVALID_CMD');
  });

  it('is free in preferred zones: the pointer stands behind the furthest write', () => {
    const made = zonesOf({ writeRequired: false });
    expect(made.write(zone + 4, 2)).toBe('OK');
    expect(made.state(1)).toBe('IOPEN');
    expect(made.zones.writePointer(1)).toBe(zone + 6);
    expect(made.write(zone, 1)).toBe('OK');
    expect(made.zones.writePointer(1)).toBe(zone + 6);
    expect(made.write(zone + 10, 12)).toBe('OK');
    expect(made.state(1)).toBe('FULL');
    expect(made.state(2)).toBe('IOPEN');
    expect(made.write(zone, zone)).toBe('OK');
    made.zones.fail(2, 'RDONLY');
    expect(made.write(zone + 8, zone)).toBe('ZONE_INVALID_CMD');
  });

  it('keeps a finished preferred zone full when it is written again, with what is new in sight', () => {
    const made = zonesOf({ writeRequired: false });
    made.write(zone, 2);
    made.finish(1);
    expect(made.zones.runs(zone, 4).map((run) => [run.sector, run.count, run.written])).toEqual([
      [zone, 2, true],
      [zone + 2, 2, false],
    ]);
    made.write(zone + 2, 1);
    expect(made.state(1)).toBe('FULL');
    expect(made.zones.runs(zone, 3)).toEqual([{ sector: zone, count: 3, written: true }]);
  });

  it('knows the gap that a write beyond a preferred pointer leaves', () => {
    const made = zonesOf({ writeRequired: false });
    expect(made.zones.gaps(zone + 4, 2)).toEqual([{ sector: zone, count: 4, written: false }]);
    made.write(zone + 4, 2);
    expect(made.zones.gaps(zone + 6, 20)).toEqual([]);
    expect(made.zones.gaps(2 * zone - 1, 4)).toEqual([{ sector: zone + 6, count: 9, written: false }]);
  });
});

describe('reading zones', () => {
  it('stays within one required zone, and away from offline ones', () => {
    const { zones } = zonesOf();
    expect(zones.checkRead(zone, zone)).toBe(0);
    expect(requestStatusName(zones.checkRead(zone, zone + 1))).toBe('ZONE_INVALID_CMD');
    expect(requestStatusName(zones.checkRead(zone - 1, 2))).toBe('ZONE_INVALID_CMD');
    zones.fail(1, 'RDONLY');
    expect(zones.checkRead(zone, 1)).toBe(0);
    zones.fail(1, 'OFFLINE');
    expect(requestStatusName(zones.checkRead(zone, 1))).toBe('ZONE_INVALID_CMD');
    expect(new Zones({ ...layout, writeRequired: false }).checkRead(0, 40)).toBe(0);
  });
});

describe('the limits of open and active zones', () => {
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('a zone that was opened implicitly makes room for another', () => {
    const made = zonesOf({ maxOpen: 2 });
    made.open(1);
    made.write(2 * zone, 1);
    expect(made.write(3 * zone, 1)).toBe('OK');
    expect([1, 2, 3].map(made.state)).toEqual(['EOPEN', 'CLOSED', 'IOPEN']);
    expect(made.open(4)).toBe('OK');
    expect([3, 4].map(made.state)).toEqual(['CLOSED', 'EOPEN']);
  });

  it('explicitly open zones make none', () => {
    const made = zonesOf({ maxOpen: 2 });
    made.open(1);
    made.open(2);
    expect(made.open(3)).toBe('ZONE_OPEN_RESOURCE');
    expect(made.write(3 * zone, 1)).toBe('ZONE_OPEN_RESOURCE');
    expect(made.state(3)).toBe('EMPTY');
    made.write(zone, zone);
    expect(made.open(3)).toBe('OK');
    expect(made.finish(3)).toBe('OK');
    expect(made.open(4)).toBe('OK');
  });

  it('active zones are named first when both limits are reached', () => {
    const made = zonesOf({ maxOpen: 1, maxActive: 2 });
    made.write(zone, 1);
    made.write(2 * zone, 1);
    expect([1, 2].map(made.state)).toEqual(['CLOSED', 'IOPEN']);
    expect(made.write(3 * zone, 1)).toBe('ZONE_ACTIVE_RESOURCE');
    made.open(2);
    expect(made.open(3)).toBe('ZONE_ACTIVE_RESOURCE');
    expect(made.open(1)).toBe('ZONE_OPEN_RESOURCE');
    expect(made.reset(2)).toBe('OK');
    expect(made.open(3)).toBe('OK');
  });

  it('lets go of what a failed zone held', () => {
    const made = zonesOf({ maxOpen: 1, maxActive: 1 });
    made.open(1);
    made.zones.fail(1, 'RDONLY');
    expect(made.open(2)).toBe('OK');
  });
});

describe('saved zones', () => {
  it('are restored with their limits', () => {
    const first = zonesOf({ maxActive: 1 });
    first.write(zone, 3);
    const second = zonesOf({ maxActive: 1 });
    second.zones.restore(JSON.parse(JSON.stringify(first.zones.save())));
    expect(second.write(2 * zone, 1)).toBe('ZONE_ACTIVE_RESOURCE');
    expect(second.write(zone + 3, 1)).toBe('OK');
  });

  it.each([
    { states: [0, 1, 1, 1], writePointers: [0, 16, 32, 48] },
    { states: [1, 1, 1, 1, 1], writePointers: [0, 16, 32, 48, 64] },
    { states: [0, 0, 1, 1, 1], writePointers: [0, 16, 32, 48, 64] },
    { states: [0, 7, 1, 1, 1], writePointers: [0, 16, 32, 48, 64] },
    { states: [0, 2, 1, 1, 1], writePointers: [0, 33, 32, 48, 64] },
    { states: [0, 2, 1, 1, 1], writePointers: [0, 16.5, 32, 48, 64] },
    { states: [0, 2, 2, 1, 1], writePointers: [0, 17, 33, 48, 64] },
  ])('of another disk are refused: $states $writePointers', (saved) => {
    expect(() => zonesOf({ maxOpen: 1 }).zones.restore(saved)).toThrow('not those of this disk');
  });
});
