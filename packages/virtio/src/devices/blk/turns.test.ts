import { describe, expect, it } from 'vitest';
import { Turns } from './turns.ts';

/** Work that ends when the test says so. */
function pendingWork(log: string[], name: string): { work: () => Promise<void>; end: () => void } {
  let end = (): void => {};
  const done = new Promise<void>((resolve) => {
    end = resolve;
  });
  const work = (): Promise<void> => {
    log.push(name);
    return done;
  };
  return { work, end };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Turns', () => {
  it('runs no more than its limit at once, and the rest in order', async () => {
    const log: string[] = [];
    const turns = new Turns(2);
    const works = ['a', 'b', 'c', 'd'].map((name) => pendingWork(log, name));
    const all = works.map(({ work }) => turns.run(work));
    expect(log).toEqual(['a', 'b']);
    works[1]?.end();
    await settle();
    expect(log).toEqual(['a', 'b', 'c']);
    for (const { end } of works) end();
    await Promise.all(all);
    expect(log).toEqual(['a', 'b', 'c', 'd']);
  });

  it('takes no turn for work that is done when it returns', () => {
    const turns = new Turns(1);
    expect([1, 2, 3].map((value) => turns.run(() => value))).toEqual([1, 2, 3]);
  });

  it('after a drain, starts nothing before everything of before has settled', async () => {
    const log: string[] = [];
    const turns = new Turns(4);
    const [old, older] = [pendingWork(log, 'old'), pendingWork(log, 'older')];
    const before = [turns.run(old.work), turns.run(older.work)];
    turns.drain();
    const next = turns.run(() => void log.push('new'));
    old.end();
    await settle();
    expect(log).toEqual(['old', 'older']);
    older.end();
    await Promise.all([...before, next]);
    expect(log).toEqual(['old', 'older', 'new']);
  });

  it('runs work alone: all of before has settled, and what comes after waits', async () => {
    const log: string[] = [];
    const turns = new Turns(4);
    const works = ['old', 'alone', 'new'].map((name) => pendingWork(log, name));
    const [old, alone, next] = works;
    const all = [turns.run(old!.work), turns.runAlone(alone!.work), turns.run(next!.work)];
    expect(log).toEqual(['old']);
    old!.end();
    await settle();
    expect(log).toEqual(['old', 'alone']);
    alone!.end();
    await settle();
    expect(log).toEqual(['old', 'alone', 'new']);
    next!.end();
    await Promise.all(all);
    expect(turns.runAlone(() => 'at once')).toBe('at once');
  });

  it('goes on after work that failed, at once or later', async () => {
    const turns = new Turns(1);
    const failing = turns.run(() => Promise.reject(new Error('no')));
    const thrown = turns.run(() => {
      throw new Error('never');
    });
    const next = turns.run(() => 'fine');
    await expect(failing).rejects.toThrow('no');
    await expect(thrown).rejects.toThrow('never');
    expect(await next).toBe('fine');
  });
});
