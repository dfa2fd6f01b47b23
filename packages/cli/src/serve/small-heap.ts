import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the heap's young generation as small as it is now, and so a back end's memory.
 *
 * V8 grows it while modules load and after, and gives nothing back; a back end's hot paths leave next to nothing
 * young, so it would hold tens of megabytes for no speed.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
