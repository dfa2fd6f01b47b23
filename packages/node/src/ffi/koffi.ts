import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

/** The foreign function library, and this process with the C library and libuv in it. */
export interface Foreign {
  readonly koffi: typeof Koffi;
  readonly libc: Koffi.LibraryHandle;
  /** Declares a function of the C library, and gives minus its errno where it fails. */
  declare<Arguments extends readonly unknown[]>(prototype: string): (...args: Arguments) => number;
}

let foreign: Foreign | undefined;

/** Loads the foreign function library at its first use, not before. */
export function foreignLibrary(): Foreign {
  foreign ??= load();
  return foreign;
}

function load(): Foreign {
  // The library is CommonJS and loads a binary: `require` can do that in the middle of a function.
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const libc = koffi.load(null);
  return {
    koffi,
    libc,
    declare(prototype) {
      const call = libc.func(prototype);
      return (...args) => {
        const result: number = call(...args);
        return result < 0 ? -koffi.errno() : result;
      };
    },
  };
}
