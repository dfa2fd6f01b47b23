/** A value that is there, or will be: what lies in memory answers at once, and then nothing waits a turn. */
export type Eventually<T> = T | Promise<T>;

/** Goes on with a value: in the same turn when it is there already. */
export function after<T, R>(value: Eventually<T>, next: (value: T) => Eventually<R>): Eventually<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** One item after the other; in the same turn while every step is done at once. */
export function eachInTurn<T>(items: readonly T[], step: (item: T) => Eventually<void>): Eventually<void> {
  return forEach(items.length, (index) => step(items[index]!));
}

/** `total` bytes in pieces of at most `most`, one after the other. */
export function inPieces(
  total: number,
  most: number,
  step: (done: number, length: number) => Eventually<void>,
): Eventually<void> {
  const count = Math.ceil(total / most);
  return forEach(count, (index) => step(index * most, Math.min(most, total - index * most)));
}

function forEach(count: number, step: (index: number) => Eventually<void>, from = 0): Eventually<void> {
  for (let index = from; index < count; index++) {
    const pending = step(index);
    if (pending instanceof Promise) return pending.then(() => forEach(count, step, index + 1));
  }
}
