import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Budget } from './budget.ts';
import { Chunks } from './chunks.ts';
import { Cubic } from './cubic.ts';
import { Deadlines, type Due } from './deadlines.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { RoundTrip } from './round-trip.ts';
import { SendQueue } from './send-queue.ts';
import { SimulatedClock } from './simulation.fixture.ts';

describe('the queue of what is sent', () => {
  it('gives back every byte at its place, however it was written', () => {
    const write = fc.tuple(fc.boolean(), fc.constantFrom(1, 10, 2047, 2048, 5000, 70_000));
    fc.assert(
      fc.property(
        fc.array(write, { minLength: 1, maxLength: 12 }),
        fc.infiniteStream(fc.nat(100)),
        (writes, picks) => {
          const budget = new Budget(1);
          const pick = () => picks.next().value / 100;
          const queue = new SendQueue(new Chunks(), budget);
          const all: number[] = [0];
          for (const [keeps, size] of writes) {
            const bytes = Uint8Array.from({ length: size }, (_, i) => all.length + i * 7);
            for (const byte of bytes) all.push(byte);
            if (keeps) queue.keep(bytes);
            else queue.copy(bytes, size);
          }
          expect(queue.end).toBe(all.length);
          for (let i = 0; i < 10; i++) {
            const from = queue.begin + Math.floor(pick() * queue.length);
            const length = Math.floor(pick() * (queue.end - from));
            const target = new Uint8Array(length + 3);
            queue.read(from, length, target, 3);
            expect(target.subarray(3).every((byte, at) => byte === (all[from + at]! & 0xff))).toBe(true);
            queue.drop(queue.begin + Math.floor(pick() * 0.3 * queue.length));
          }
          expect(budget.promised).toBe(queue.length);
          queue.clear();
          expect([queue.length, budget.promised]).toEqual([0, 0]);
        },
      ),
      { numRuns: 15, seed: 1 },
    );
  });
});

describe('the queue of what came', () => {
  it('gives back bytes that were put anywhere, in order', () => {
    const queue = new ReceiveQueue(new Chunks());
    const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => i * 3);
    queue.write(100_001, bytes, 100_000, 100_000);
    queue.write(1, bytes, 0, 100_000);
    let read = 0;
    while (read < bytes.length) {
      const next = queue.peek(200_001);
      const taken = Math.min(next.length, 30_000);
      const from = read;
      expect(next.subarray(0, taken).every((byte, at) => byte === bytes[from + at])).toBe(true);
      read += taken;
      queue.took(taken, 200_001, read % 2 === 0);
    }
    expect(queue.peek(200_001).length).toBe(0);
    queue.pass(200_500);
    queue.write(200_500, Uint8Array.of(1, 2), 0, 2);
    expect(queue.peek(200_502)).toEqual(Uint8Array.of(1, 2));
  });
});

describe('the wait for an acknowledgment', () => {
  it('is computed as RFC 6298 has it', () => {
    const trip = new RoundTrip();
    expect(trip.timeout).toBe(1000);
    trip.measured(500);
    expect([trip.smoothed, trip.timeout]).toEqual([500, 1500]);
    trip.measured(300);
    expect([trip.smoothed, trip.timeout]).toEqual([475, 475 + 4 * (0.75 * 250 + 0.25 * 200)]);
    trip.doublings = 1;
    expect(trip.timeout).toBe(2 * (475 + 950));
    trip.doublings = 30;
    expect(trip.timeout).toBe(60_000);
    const lost = new RoundTrip();
    lost.lostSyn();
    expect(lost.timeout).toBe(3000);
  });
});

describe('congestion control', () => {
  it('doubles at first, and falls to one segment at a time-out', () => {
    const cubic = new Cubic(1000);
    expect(cubic.window).toBe(10_000);
    for (let i = 0; i < 10; i++) cubic.acknowledged(1000, 0, 0);
    expect(cubic.window).toBe(20_000);
    cubic.timedOut(20_000, false);
    expect([cubic.window, cubic.threshold]).toEqual([1000, 14_000]);
    cubic.timedOut(1000, true);
    expect(cubic.threshold).toBe(14_000);
    cubic.acknowledged(1000, 0, 0);
    expect(cubic.window).toBe(2000);
  });

  it('comes back to where the loss was after K seconds, and goes beyond', () => {
    const cubic = new Cubic(1000);
    for (let i = 0; i < 990; i++) cubic.acknowledged(1000, 0, 0);
    expect(cubic.window).toBe(1_000_000);
    cubic.lost(1_000_000);
    cubic.recovered();
    expect(cubic.window).toBe(700_000);
    const roundTrip = 100;
    const at: number[] = [];
    for (let now = 1; now <= 16_000; now += roundTrip) {
      for (let sent = 0; sent < cubic.window; sent += 50_000) cubic.acknowledged(50_000, now, roundTrip);
      at.push(cubic.window);
    }
    // K = cbrt(300 / 0.4) = 9.09 s: flat there, steep on both sides.
    const after = (seconds: number) => at[Math.round((seconds * 1000) / roundTrip) - 1]!;
    expect(after(9)).toBeGreaterThan(990_000);
    expect(after(9)).toBeLessThan(1_010_000);
    expect(after(2)).toBeLessThan(900_000);
    expect(after(15)).toBeGreaterThan(1_050_000);
    expect(at.every((window, i) => i === 0 || window >= at[i - 1]!)).toBe(true);
  });

  it('grows no slower than Reno where round trips are short', () => {
    const cubic = new Cubic(1000);
    cubic.lost(20_000);
    cubic.recovered();
    const began = cubic.window;
    for (let now = 1; now <= 101; now++) cubic.acknowledged(cubic.window, now, 1);
    // Reno has a segment more each round trip, and loses more of it each time: 0.53 of that is as much.
    expect(cubic.window - began).toBeGreaterThan(0.5 * 100_000);
  });

  it('makes way for others when it loses before it was where it had lost', () => {
    const cubic = new Cubic(1000);
    for (let i = 0; i < 90; i++) cubic.acknowledged(1000, 0, 0);
    cubic.lost(100_000);
    cubic.lost(70_000);
    cubic.recovered();
    expect(cubic.window).toBe(49_000);
    cubic.timedOut(49_000, false);
    expect([cubic.window, Math.round(cubic.threshold)]).toEqual([1000, 34_300]);
    cubic.idle();
    cubic.resize(500);
    cubic.acknowledged(500, 10, 1);
    expect(cubic.window).toBe(1500);
  });
});

describe('deadlines', () => {
  class One implements Due {
    deadline = Number.POSITIVE_INFINITY;
    filedAt = 0;
    filed = -1;
    readonly #called: (now: number) => void;

    constructor(called: (now: number) => void) {
      this.#called = called;
    }

    due(now: number): void {
      this.deadline = Number.POSITIVE_INFINITY;
      this.#called(now);
    }
  }

  it('come in their order, at their time, over one timer, however they move', () => {
    const move = fc.tuple(fc.nat(9), fc.integer({ min: 0, max: 1000 }));
    fc.assert(
      fc.property(
        fc.array(move, { maxLength: 60 }),
        fc.array(fc.nat(9), { maxLength: 5 }),
        (moves, removed) => {
          const clock = new SimulatedClock();
          const deadlines = new Deadlines(clock, () => {});
          const called: [number, number][] = [];
          const ones = Array.from({ length: 10 }, (_, i) => new One((now) => called.push([now, i])));
          for (const [i, at] of moves) {
            ones[i]!.deadline = at;
            deadlines.file(ones[i]!);
            expect(clock.pending).toBe(1);
          }
          for (const i of removed) {
            deadlines.remove(ones[i]!);
            ones[i]!.deadline = Number.POSITIVE_INFINITY;
          }
          const expected = ones
            .map(({ deadline }, i): [number, number] => [deadline, i])
            .filter(([deadline]) => deadline !== Number.POSITIVE_INFINITY)
            .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
          clock.pass(2000);
          expect(called.sort((a, b) => a[0] - b[0] || a[1] - b[1])).toEqual(expected);
          expect([deadlines.size, clock.pending]).toEqual([0, 0]);
        },
      ),
    );
  });
});
