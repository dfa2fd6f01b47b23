import type { ConsolePort } from 'virtio/devices/console';
import type { WindowSize } from './terminal.ts';

/**
 * Tells the guest how large our window is. The specification has columns first; some kernels take rows first,
 * and no version number tells which. So the guest says how it understood a size, and from then on gets the two
 * in the order that it takes them.
 */
export class GuestWindow {
  readonly #console: Pick<ConsolePort, 'resize'>;
  #size: WindowSize | undefined;
  #swapped = false;

  constructor(console: Pick<ConsolePort, 'resize'>) {
    this.#console = console;
  }

  resize(size: WindowSize): void {
    this.#size = size;
    if (this.#swapped) this.#console.resize(size.rows, size.columns);
    else this.#console.resize(size.columns, size.rows);
  }

  /** What the guest made of the last size. */
  understood({ columns, rows }: WindowSize): void {
    const told = this.#size;
    if (told === undefined || told.columns === told.rows) return;
    if (columns !== told.rows || rows !== told.columns) return;
    this.#swapped = !this.#swapped;
    this.resize(told);
  }
}
