import type { PolledQueue } from 'virtio/device';
import { expect, it } from 'vitest';
import { AdaptivePolling } from './adaptive-polling.ts';

/** A clock that moves a microsecond with each look at it, an event loop that turns when told, and a queue. */
function world(longest = 50) {
  let time = 0;
  const turns: (() => void)[] = [];
  const queue = {
    waiting: 0,
    notifies: true,
    look(): boolean {
      const had = queue.waiting > 0;
      queue.waiting = 0;
      return had;
    },
    rest(): boolean {
      queue.notifies = !queue.look();
      return !queue.notifies;
    },
  } satisfies PolledQueue & Record<string, unknown>;
  const polling = new AdaptivePolling({
    longest,
    now: () => {
      time += 0.001;
      return time;
    },
    nextTurn: (task) => void turns.push(task),
  });
  return {
    queue,
    polling,
    /** Lets so many microseconds pass. */
    pass(microseconds: number): void {
      time += microseconds / 1000;
    },
    /** The driver notifies, so the queue is served and runs empty. */
    notify(): void {
      queue.notifies = false;
      polling.linger(queue);
    },
    turn(): boolean {
      const task = turns.shift();
      task?.();
      return task !== undefined;
    },
    /** Turns until nothing is looked at any more; how many turns that took. */
    settle(): number {
      for (let count = 0; ; count++) {
        if (turns.length === 0) return count;
        turns.shift()?.();
      }
    },
  };
}

it('lets a queue rest at once that is seldom used, and costs no turn', () => {
  const { queue, polling, pass, notify, settle } = world();
  for (let count = 0; count < 5; count++) {
    notify();
    expect(queue.notifies).toBe(true);
    expect(settle()).toBe(0);
    pass(1000);
  }
  expect(polling.lingering).toBe(0);
});

it('looks when a notification came soon, and ever more seldom while it finds too little', () => {
  const { queue, pass, notify, turn, settle } = world();
  notify();
  const looked: boolean[] = [];
  for (let count = 0; count < 40; count++) {
    pass(20);
    notify();
    looked.push(!queue.notifies);
    // One find is less than what the time is worth.
    queue.waiting = Number(!queue.notifies);
    if (!queue.notifies) turn();
    settle();
    expect(queue.notifies).toBe(true);
  }
  const when = looked.flatMap((did, count) => (did ? [count] : []));
  expect(when).toEqual([0, 2, 5, 10, 19, 36]);
});

it('goes on as long as something is found, then rests, and looks again at once', () => {
  const { queue, polling, pass, notify, turn, settle } = world();
  notify();
  for (let times = 0; times < 3; times++) {
    pass(20);
    notify();
    for (let count = 0; count < 1000; count++) {
      queue.waiting = 1;
      expect(turn()).toBe(true);
      expect([queue.waiting, queue.notifies]).toEqual([0, false]);
    }
    expect(settle()).toBeGreaterThan(0);
    expect([queue.notifies, polling.lingering]).toEqual([true, 0]);
  }
  pass(500);
  notify();
  expect(settle()).toBe(0);
});

it('finds what came while it let the queue rest', () => {
  const { queue, polling, notify, settle } = world();
  queue.waiting = 1;
  notify();
  expect([queue.waiting, polling.lingering]).toEqual([0, 1]);
  settle();
  expect([queue.notifies, polling.lingering]).toEqual([true, 0]);
});

it('never looks where it is told so', () => {
  const { queue, pass, notify, settle } = world(0);
  for (let count = 0; count < 10; count++) {
    notify();
    expect(queue.notifies).toBe(true);
    expect(settle()).toBe(0);
    pass(1);
  }
});
