import { bytes, le16, le32, le64, struct, tail, u8 } from '../spec/layout.ts';

/*
 * The messages of vfio-user 0.0, as QEMU's interop document "vfio-user Protocol Specification" has them. All data is in
 * the byte order of the host, and hosts that are big-endian are not served.
 */

/** The version of the protocol that both sides here speak. */
export const protocolVersion = Object.freeze({ major: 0, minor: 0 });

/** Stands before every message. */
export const vfio_user_header = struct('vfio_user_header', {
  msg_id: le16,
  cmd: le16,
  /** Bytes of the whole message. */
  msg_size: le32,
  flags: le32,
  /** An errno of Linux, where the flags say that the command failed. */
  error_no: le32,
});

/** Bits of the header's flags; the lowest four are the type, 0 for a command. */
export const headerFlag = Object.freeze({ TYPE: 0xf, REPLY: 0x1, NO_REPLY: 0x10, ERROR: 0x20 });

/** Who sends a command. */
export type Sender = 'client' | 'server';

/** One command: its number, who sends it, and the fewest bytes behind its header. */
export interface CommandForm {
  readonly id: number;
  readonly from: Sender;
  readonly least: number;
  /** True where more bytes may follow the least ones. */
  readonly open?: boolean;
  /** The most descriptors with it; none unless told, `Infinity` for as many as were negotiated. */
  readonly descriptors?: number;
}

/** Proposes a version, or chooses one; capabilities as JSON and a NUL may follow. */
export const vfio_user_version = struct('vfio_user_version', { major: le16, minor: le16, data: tail(u8) });

export const vfio_user_dma_map = struct('vfio_user_dma_map', {
  argsz: le32,
  flags: le32,
  /** From the start of the descriptor's memory. */
  offset: le64,
  address: le64,
  size: le64,
});
export const dmaFlag = Object.freeze({ READABLE: 1, WRITEABLE: 2 });

export const vfio_user_dma_unmap = struct('vfio_user_dma_unmap', {
  argsz: le32,
  flags: le32,
  address: le64,
  size: le64,
});
/** Not in the document; QEMU sends it. `ALL` takes every region away. */
export const dmaUnmapFlag = Object.freeze({ ALL: 2 });

export const vfio_user_device_info = struct('vfio_user_device_info', {
  argsz: le32,
  flags: le32,
  num_regions: le32,
  num_irqs: le32,
});
export const deviceFlag = Object.freeze({ RESET: 1, PCI: 2 });

export const vfio_region_info = struct('vfio_region_info', {
  argsz: le32,
  flags: le32,
  index: le32,
  /** From the start of this structure, where the flags say that there are capabilities. */
  cap_offset: le32,
  size: le64,
  /** What to map, from the start of the descriptor's memory. */
  offset: le64,
});
export const regionFlag = Object.freeze({ READ: 1, WRITE: 2, MMAP: 4, CAPS: 8 });

export const vfio_info_cap_header = struct('vfio_info_cap_header', { id: le16, version: le16, next: le32 });
export const regionCapability = Object.freeze({ SPARSE_MMAP: 1 });
export const vfio_region_info_cap_sparse_mmap = struct('vfio_region_info_cap_sparse_mmap', {
  nr_areas: le32,
  reserved: le32,
});
export const vfio_region_sparse_mmap_area = struct('vfio_region_sparse_mmap_area', {
  offset: le64,
  size: le64,
});

/** The regions of a PCI device by index. */
export const region = Object.freeze({
  BAR0: 0,
  BAR1: 1,
  BAR2: 2,
  BAR3: 3,
  BAR4: 4,
  BAR5: 5,
  ROM: 6,
  CONFIG: 7,
  VGA: 8,
});
/** How many there are. */
export const regionCount = 9;

export const vfio_user_region_io_fds = struct('vfio_user_region_io_fds', {
  argsz: le32,
  flags: le32,
  index: le32,
  count: le32,
});
/** A part of a region whose writes an event can stand for. */
export const vfio_user_sub_region_ioeventfd = struct('vfio_user_sub_region_ioeventfd', {
  offset: le64,
  size: le64,
  fd_index: le32,
  type: le32,
  flags: le32,
  padding: le32,
  datamatch: le64,
});
export const ioFdType = Object.freeze({ IOEVENTFD: 0, IOREGIONFD: 1 });
/** KVM's flags of an ioeventfd. */
export const ioEventFlag = Object.freeze({ DATAMATCH: 1, PIO: 2 });

export const vfio_irq_info = struct('vfio_irq_info', { argsz: le32, flags: le32, index: le32, count: le32 });
export const irqFlag = Object.freeze({ EVENTFD: 1, MASKABLE: 2, AUTOMASKED: 4, NORESIZE: 8 });

/** The kinds of interrupts of a PCI device by index. */
export const irq = Object.freeze({ INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 });
/** How many there are. */
export const irqCount = 5;

/** One byte for each interrupt follows where the flags say DATA_BOOL. */
export const vfio_irq_set = struct('vfio_irq_set', {
  argsz: le32,
  flags: le32,
  index: le32,
  start: le32,
  count: le32,
});
export const irqSetFlag = Object.freeze({
  DATA_NONE: 0x1,
  DATA_BOOL: 0x2,
  DATA_EVENTFD: 0x4,
  ACTION_MASK: 0x8,
  ACTION_UNMASK: 0x10,
  ACTION_TRIGGER: 0x20,
});
export const irqDataMask = 0x7;
export const irqActionMask = 0x38;

/** Data follow in a write, and in the reply to a read. */
export const vfio_user_region_access = struct('vfio_user_region_access', {
  offset: le64,
  region: le32,
  count: le32,
});

/** Data follow in a write, and in the reply to a read. */
export const vfio_user_dma_access = struct('vfio_user_dma_access', { address: le64, count: le64 });

export const vfio_user_write_multi = struct('vfio_user_write_multi', { wr_cnt: le64 });
/** One of the writes that follow. */
export const vfio_user_write = struct('vfio_user_write', {
  offset: le64,
  region: le32,
  count: le32,
  data: bytes(8),
});

/** Data of the feature follow. */
export const vfio_user_device_feature = struct('vfio_user_device_feature', { argsz: le32, flags: le32 });
export const featureFlag = Object.freeze({ INDEX: 0xffff, GET: 0x1_0000, SET: 0x2_0000, PROBE: 0x4_0000 });
export const deviceFeature = Object.freeze({
  MIGRATION: 1,
  MIG_DEVICE_STATE: 2,
  DMA_LOGGING_START: 6,
  DMA_LOGGING_STOP: 7,
  DMA_LOGGING_REPORT: 8,
});
export const vfio_user_device_feature_migration = struct('vfio_user_device_feature_migration', {
  flags: le64,
});
export const migrationFlag = Object.freeze({ STOP_COPY: 1n });
export const vfio_user_device_feature_mig_state = struct('vfio_user_device_feature_mig_state', {
  device_state: le32,
  data_fd: le32,
});
export const migrationState = Object.freeze({ ERROR: 0, STOP: 1, RUNNING: 2, STOP_COPY: 3, RESUMING: 4 });
/** Ranges follow. */
export const vfio_user_device_feature_dma_logging_control = struct(
  'vfio_user_device_feature_dma_logging_control',
  { page_size: le64, num_ranges: le32, reserved: le32 },
);
export const vfio_user_device_feature_dma_logging_range = struct(
  'vfio_user_device_feature_dma_logging_range',
  { iova: le64, length: le64 },
);
/** The bitmap follows in a reply. */
export const vfio_user_device_feature_dma_logging_report = struct(
  'vfio_user_device_feature_dma_logging_report',
  { iova: le64, length: le64, page_size: le64 },
);
/** Data follow in a write, and in the reply to a read. */
export const vfio_user_mig_data = struct('vfio_user_mig_data', { argsz: le32, size: le32 });

/** Every command of the protocol, without the prefix `VFIO_USER_`. */
export const commands = Object.freeze({
  VERSION: { id: 1, from: 'client', least: vfio_user_version.size, open: true },
  DMA_MAP: { id: 2, from: 'client', least: vfio_user_dma_map.size, descriptors: 1 },
  DMA_UNMAP: { id: 3, from: 'client', least: vfio_user_dma_unmap.size },
  DEVICE_GET_INFO: { id: 4, from: 'client', least: vfio_user_device_info.size },
  DEVICE_GET_REGION_INFO: { id: 5, from: 'client', least: vfio_region_info.size },
  DEVICE_GET_REGION_IO_FDS: { id: 6, from: 'client', least: vfio_user_region_io_fds.size },
  DEVICE_GET_IRQ_INFO: { id: 7, from: 'client', least: vfio_irq_info.size },
  DEVICE_SET_IRQS: { id: 8, from: 'client', least: vfio_irq_set.size, open: true, descriptors: Infinity },
  REGION_READ: { id: 9, from: 'client', least: vfio_user_region_access.size },
  REGION_WRITE: { id: 10, from: 'client', least: vfio_user_region_access.size, open: true },
  DMA_READ: { id: 11, from: 'server', least: vfio_user_dma_access.size },
  DMA_WRITE: { id: 12, from: 'server', least: vfio_user_dma_access.size, open: true },
  DEVICE_RESET: { id: 13, from: 'client', least: 0 },
  REGION_WRITE_MULTI: { id: 15, from: 'client', least: vfio_user_write_multi.size, open: true },
  DEVICE_FEATURE: { id: 16, from: 'client', least: vfio_user_device_feature.size, open: true },
  MIG_DATA_READ: { id: 17, from: 'client', least: vfio_user_mig_data.size },
  MIG_DATA_WRITE: { id: 18, from: 'client', least: vfio_user_mig_data.size, open: true },
} as const satisfies Readonly<Record<string, CommandForm>>);

/** A command's name. */
export type CommandName = keyof typeof commands;

// The entries are exactly the table's.
const entries = Object.entries(commands) as [CommandName, CommandForm][];
const byId: ReadonlyMap<number, readonly [CommandName, CommandForm]> = new Map(
  entries.map((entry) => [entry[1].id, entry]),
);

/** The command of a number, or `undefined`. */
export const commandOf = (id: number): readonly [CommandName, CommandForm] | undefined => byId.get(id);

/** Linux's numbers, by which a command is refused. */
export const errno = Object.freeze({
  ENOENT: 2,
  EIO: 5,
  E2BIG: 7,
  EFAULT: 14,
  EEXIST: 17,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
});

/** One of them. */
export type ErrnoName = keyof typeof errno;

/** `EINVAL`, or the number where it has no name here; who refuses need not give one. */
export function errnoName(number: number): string {
  if (number === 0) return 'no reason given';
  const found = Object.entries(errno).find(([, value]) => value === number);
  return found?.[0] ?? `errno ${number}`;
}
