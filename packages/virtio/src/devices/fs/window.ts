import type { Eventually } from '../../device/eventually.ts';
import type { OpenFile } from './file-tree.ts';

/** A range of a file that is shown in the window. All numbers are bytes, and multiples of the window's alignment. */
export interface FileMapping<F extends OpenFile = OpenFile> {
  /** Where in the window. */
  readonly offset: number;
  readonly length: number;
  /** Open until the mapping is gone. */
  readonly file: F;
  /** Where in the file; the range may go beyond its end. */
  readonly from: number;
  readonly writable: boolean;
}

/**
 * The DAX window of a file system device: its shared memory region 0, into which the driver has ranges of files put, to
 * read and write them without a request. A host lends one that can show the files of its tree.
 *
 * The device keeps it honest: mappings lie within it and never over one another, one operation follows the other, and what
 * is taken away is one whole mapping of before. A driver may find for a moment that nothing is there of a mapping of which a part
 * is taken away.
 */
export interface FsWindow<F extends OpenFile = OpenFile> {
  /** Bytes; a multiple of the alignment. */
  readonly length: number;
  /** A power of two from 4096 on. */
  readonly alignment: number;
  /** False while nobody can see into it: sessions that begin then have none. True unless told. */
  readonly attached?: boolean;
  /** Shows a range of a file where nothing is shown. Fails as the operations of a tree do. */
  map(mapping: FileMapping<F>): Eventually<void>;
  /** Takes away what one `map` has put there. */
  unmap(mapping: FileMapping<F>): Eventually<void>;
}
