import type { ClauseId } from '../../spec/clauses.ts';
import { deviceType } from '../../spec/device-type.ts';
import { bytes, le32, type Struct, struct } from '../../spec/layout.ts';

const configFields = {
  /** The file system's name in UTF-8, filled up with NULs; without one where it takes all of the field. */
  tag: bytes(36),
  /** Request queues in all; the driver may use fewer. */
  num_request_queues: le32,
  /** Bytes that a buffer of the notification queue has at least. */
  notify_buf_size: le32,
} as const;

/** The configuration structure of a file system device. */
export const virtio_fs_config: Struct<typeof configFields> = struct('virtio_fs_config', configFields);

/** The file system device: files of the host's, by the FUSE protocol. */
export const fs = deviceType({
  id: 26,
  name: 'fs',
  queues: {
    hiprio: 0,
    notification: {
      first: [1],
      requires: 'NOTIFICATION',
      moved: (settled) => (settled.has('NOTIFICATION') ? {} : { first: [] }),
    },
    requestq: { from: 1, moved: (settled) => (settled.has('NOTIFICATION') ? { from: 2 } : {}) },
  },
  features: { NOTIFICATION: 0 },
  config: virtio_fs_config,
  configRequires: { notify_buf_size: 'NOTIFICATION' },
  // A mass storage controller of no more particular kind.
  pciClass: 0x0180,
});

/** The most bytes that a tag has in UTF-8. */
export const longestTag = 36;

/** The clauses that a peer can break in a way that the other side sees. */
export const fsClauses = Object.freeze({
  priority:
    'driver: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue',
} as const satisfies Record<string, ClauseId>);
