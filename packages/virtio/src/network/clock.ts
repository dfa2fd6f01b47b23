import type { Clock } from './tcp/index.ts';

/** What every engine with an event loop has, though no standard of the language says so. */
interface Engine {
  setTimeout(call: () => void, milliseconds: number): unknown;
  clearTimeout(handle: unknown): void;
  readonly performance: { now(): number };
}

/** What Node's handles can do. */
interface NodeTimer {
  unref?: () => void;
}

/** The clock of the engine. To wait on it keeps no process of Node's alive; open sockets do. */
export function systemClock(): Clock {
  // The language's own library does not name these; an engine without them needs a clock that is handed in.
  const engine = globalThis as unknown as Engine;
  return {
    now: () => engine.performance.now(),
    setTimer(milliseconds, fire) {
      const handle = engine.setTimeout(fire, milliseconds);
      // In Node it is an object, elsewhere a number.
      if (typeof handle === 'object') (handle as NodeTimer).unref?.();
      return () => engine.clearTimeout(handle);
    },
  };
}

/** Fills the bytes from the engine's source of random numbers. */
export function systemRandom(bytes: Uint8Array): void {
  // As above: every engine has it, and none of the language's libraries.
  const engine = globalThis as unknown as { readonly crypto: { getRandomValues(bytes: Uint8Array): void } };
  // What it takes at a time is bounded.
  for (let at = 0; at < bytes.length; at += 65_536)
    engine.crypto.getRandomValues(bytes.subarray(at, at + 65_536));
}
