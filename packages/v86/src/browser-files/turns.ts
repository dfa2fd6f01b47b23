import { asFsError } from './failure.ts';

/** Does one thing after the other. What fails, fails as a guest reads it, and holds nothing up. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Goes on after all that is under way. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work).catch((error: unknown) => {
      throw asFsError(error);
    });
    this.#last = done.catch(() => {});
    return done;
  }
}
