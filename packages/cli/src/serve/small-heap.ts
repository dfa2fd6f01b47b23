import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the heap small, and so a back end's memory. To be called before what it is for is loaded: loading is what the heap
 * grows most by, and nothing of that is given back.
 *
 * A back end's hot paths leave next to nothing young and little that is old, so a large heap would bring no speed. The
 * first flag keeps the young generation from growing, to 16 MB and more; the second the old one from growing by much at a
 * time. An engine that knows one of them no more says so on standard error, and goes on.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--optimize-for-size');
}
