import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Flight, type Sent } from './flight.ts';
import { Rack } from './rack.ts';

/** Takes down what it hears of. */
class Heard {
  readonly arrivals: [start: number, end: number][] = [];

  arrived({ start }: Sent, end: number): void {
    this.arrivals.push([start, end]);
  }
}

describe('what is under way', () => {
  type State = 'sent' | 'lost' | 'selected';
  const step = fc.record({
    kind: fc.constantFrom('send', 'select', 'acknowledge', 'again', 'lose', 'loseFirst', 'loseAll'),
    from: fc.integer({ min: 0, max: 120 }),
    length: fc.integer({ min: 1, max: 40 }),
  });

  it('is what a plain list of positions says', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const heard = new Heard();
        const flight = new Flight(heard);
        const states = new Map<number, State>();
        let [first, next, now] = [1, 1, 0];
        const arrived = new Set<number>();
        const inState = (state: State): number[] =>
          [...states].filter(([, one]) => one === state).map(([at]) => at);
        for (const { kind, from, length } of steps) {
          now++;
          const start = Math.min(first + from, next);
          const end = Math.min(start + length, next);
          if (kind === 'send') {
            flight.send(next, next + length, now);
            for (let at = next; at < next + length; at++) states.set(at, 'sent');
            next += length;
          } else if (kind === 'select' && start > first && end > start) {
            const before = inState('selected').length;
            const fresh = flight.select(start, end);
            for (let at = start; at < end; at++) {
              if (states.get(at) !== 'selected') arrived.add(at);
              states.set(at, 'selected');
            }
            expect(fresh).toBe(inState('selected').length - before);
          } else if (kind === 'acknowledge' && end > first) {
            flight.acknowledge(end);
            for (let at = first; at < end; at++) {
              if (states.get(at) !== 'selected') arrived.add(at);
              states.delete(at);
            }
            first = end;
            // Nobody acknowledges up to what it has, and no further.
            if (states.get(first) === 'selected')
              for (const at of inState('selected')) states.set(at, 'sent');
          } else if (kind === 'again' && end > start) {
            flight.sendAgain(start, end, now);
            for (let at = start; at < end; at++) if (states.get(at) !== 'selected') states.set(at, 'sent');
          } else if (kind === 'lose') {
            flight.loseOlder(Number.POSITIVE_INFINITY, 0, now);
            for (const at of inState('sent')) states.set(at, 'lost');
          } else if (kind === 'loseAll') {
            flight.loseAll();
            for (const at of inState('sent')) states.set(at, 'lost');
          }
          expect([flight.selected, flight.lost]).toEqual([
            inState('selected').length,
            inState('lost').length,
          ]);
          expect(flight.selectedEnd).toBe(Math.max(-1, ...inState('selected')) + 1);
          expect(flight.findLost()).toBe(flight.lost > 0);
          if (flight.lost > 0) {
            let stop = Math.min(...inState('lost'));
            expect(flight.lostStart).toBe(stop);
            while (states.get(stop) === 'lost') stop++;
            expect(flight.lostEnd).toBe(stop);
          }
        }
        const told = heard.arrivals.flatMap(([start, end]) =>
          Array.from({ length: end - start }, (_, i) => start + i),
        );
        expect(new Set(told)).toEqual(arrived);
      }),
      { seed: 8985, numRuns: 200 },
    );
  });

  it('does not grow without end', () => {
    const flight = new Flight(new Heard());
    for (let at = 1; at < 20_001; at++) flight.send(at, at + 1, at);
    for (let at = 20_001; at < 40_001; at += 2) flight.send(at, at + 2, at);
    for (let at = 3; at < 40_001; at += 2) flight.select(at, at + 1);
    expect(flight.selected).toBeGreaterThan(200);
    expect(flight.selected).toBeLessThan(1024);
    flight.acknowledge(40_001);
    expect([flight.selected, flight.lost]).toEqual([0, 0]);
  });
});

describe('a loss by time', () => {
  /** Ten segments of 1000 bytes, sent a millisecond apart from 1 on. */
  function ten(): { rack: Rack; flight: Flight; lost: (sure?: boolean) => number } {
    const rack = new Rack();
    const flight = new Flight(rack);
    for (let i = 0; i < 10; i++) flight.send(1 + 1000 * i, 1001 + 1000 * i, i);
    const lost = (sure = true): number => {
      rack.settle();
      flight.loseOlder(rack.order, rack.end, rack.sentBy(sure, 100));
      return flight.lost;
    };
    return { rack, flight, lost };
  }

  it('is of what was sent before something that arrived, at once when it is sure', () => {
    const { rack, flight, lost } = ten();
    rack.now = 40;
    flight.select(2001, 3001);
    expect(lost()).toBe(2000);
    expect([flight.lostStart, flight.findLost(), flight.lostEnd]).toEqual([0, true, 2001]);
  });

  it('waits for a quarter of the least round trip when it is not', () => {
    const { rack, flight, lost } = ten();
    rack.now = 42;
    flight.select(2001, 3001);
    expect(lost(false)).toBe(0);
    const due = rack.dueAt(0, false, 100);
    expect(due).toBe(0 + 40 + 10);
    rack.now = due;
    expect(lost(false)).toBe(1000);
    rack.now = rack.dueAt(1, false, 100);
    expect(lost(false)).toBe(2000);
  });

  it('waits on a path that was seen to change the order, longer when it waited in vain', () => {
    const { rack, flight, lost } = ten();
    rack.now = 42;
    flight.select(5001, 6001);
    rack.settle();
    flight.acknowledge(2001);
    expect(lost()).toBe(0);
    const wait = (): number => rack.dueAt(0, true, 100) - rack.trip;
    const short = wait();
    expect(short).toBeGreaterThan(0);
    rack.cameTwice(2001, 10_001);
    // Once a round trip.
    rack.cameTwice(3001, 10_001);
    expect(wait()).toBe(2 * short);
    for (let i = 0; i < 16; i++) rack.recovered();
    expect(wait()).toBe(short);
  });

  it('is of what was sent again too, by what was sent after that', () => {
    const { rack, flight, lost } = ten();
    rack.now = 40;
    flight.select(3001, 10_001);
    expect(lost()).toBe(3000);
    flight.sendAgain(1, 3001, 41);
    flight.send(10_001, 11_001, 42);
    expect(lost()).toBe(0);
    rack.now = 82;
    flight.select(10_001, 11_001);
    expect(lost()).toBe(3000);
  });

  it('does not go by what was sent again when the first may have arrived', () => {
    const { rack, flight } = ten();
    rack.now = 40;
    flight.select(3001, 10_001);
    const { order } = rack;
    flight.sendAgain(1, 3001, 41);
    // Sooner than anything ever arrived; and by its echo from before.
    rack.now = 45;
    flight.select(1001, 2001);
    rack.now = 100;
    rack.echoed = 100;
    flight.select(2001, 3001);
    expect(rack.order).toBe(order);
  });
});
