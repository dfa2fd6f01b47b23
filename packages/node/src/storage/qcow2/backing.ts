import { wasCut } from '../failures.ts';
import type { RawFile } from '../raw-file.ts';

/** What lies beneath an image: it is read where the image has nothing of its own. */
export interface Backing {
  /** Bytes; behind them all is 0. */
  readonly size: number;
  read(offset: number, target: Uint8Array): void;
  close(): Promise<void>;
}

/** An image beneath an image. */
export function imageBacking(image: Backing): Backing {
  const { size } = image;
  return {
    size,
    read(offset, target) {
      const known = Math.min(Math.max(0, size - offset), target.length);
      if (known > 0) image.read(offset, target.subarray(0, known));
      if (known < target.length) target.fill(0, known);
    },
    close: () => image.close(),
  };
}

/** A raw file beneath an image. Its size need not be whole sectors. */
export function rawBacking(file: RawFile): Backing {
  const { size } = file.stats;
  return {
    size,
    read(offset, target) {
      const done = file.read(offset, target);
      if (done < Math.min(size - offset, target.length)) throw wasCut(file.path, offset + done);
      if (done < target.length) target.fill(0, done);
    },
    close: () => file.close(),
  };
}
