/**
 * The errors that a file system answers with, as Linux numbers them on every architecture that virtio is used on.
 * FUSE carries them negated.
 */
export const errno = Object.freeze({
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const);

/** The name of an error of a file system. */
export type ErrnoName = keyof typeof errno;

// The keys of the table are its names.
const names = new Map<number, ErrnoName>(Object.entries(errno).map(([name, n]) => [n, name as ErrnoName]));

/** The name of a number, negated or not; `EIO` for one that is in no table. */
export const errnoName = (number: number): ErrnoName => names.get(Math.abs(number)) ?? 'EIO';

/**
 * What a file operation says when it does not succeed: a file tree throws it, or rejects with it, and a driver's
 * caller gets it. `code` is what counts.
 */
export class FsError extends Error {
  override readonly name = 'FsError';
  readonly code: ErrnoName;

  constructor(code: ErrnoName, message: string = code) {
    super(message);
    this.code = code;
  }

  /**
   * The one error of its code: for what happens every day. Making an error costs more than most requests, since engines
   * write down where it was made; that of this one tells nothing.
   */
  static of(code: ErrnoName): FsError {
    let error = made.get(code);
    if (error === undefined) {
      error = new FsError(code);
      made.set(code, error);
    }
    return error;
  }
}

const made = new Map<ErrnoName, FsError>();
