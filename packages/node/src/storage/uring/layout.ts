/** Layouts and numbers of io_uring, by the names of the kernel's header. All fields have the machine's byte order. */

/** Byte offsets in `struct io_uring_params`, 120 bytes. */
export const params = {
  size: 120,
  sq_entries: 0,
  cq_entries: 4,
  features: 20,
  sq_off: 40,
  cq_off: 80,
} as const;
/** Byte offsets in `struct io_sqring_offsets` and `struct io_cqring_offsets`; each field says where in the ring something is. */
export const sqOffsets = { head: 0, tail: 4, ring_mask: 8, array: 24 } as const;
export const cqOffsets = { head: 0, tail: 4, ring_mask: 8, cqes: 20 } as const;

/** Byte offsets in `struct io_uring_sqe`. */
export const sqe = {
  size: 64,
  opcode: 0,
  flags: 1,
  ioprio: 2,
  fd: 4,
  off: 8,
  addr: 16,
  len: 24,
  op_flags: 28,
  user_data: 32,
} as const;
/** Byte offsets in `struct io_uring_cqe`. */
export const cqe = { size: 16, user_data: 0, res: 8 } as const;

/** Where mmap(2) finds the parts. */
export const mapAt = { rings: 0, sqes: 0x1000_0000 } as const;

export const feature = { SINGLE_MMAP: 1 << 0, NODROP: 1 << 1 } as const;
export const opcode = { FSYNC: 3, READ: 22, WRITE: 23 } as const;
export const FSYNC_DATASYNC = 1;

export const registration = { EVENTFD: 4, PROBE: 8 } as const;
/** `struct io_uring_probe`, with `ops` entries: whether each operation is there. */
export const probe = { header: 16, entry: 8, ops: 64, flags: 2, SUPPORTED: 1 } as const;
