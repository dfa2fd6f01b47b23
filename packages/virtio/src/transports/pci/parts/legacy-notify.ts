import { bytes, le64, type Struct, struct, u8 } from '../../../spec/layout.ts';

const notifyInfo = { flags: u8, bar: u8, padding: bytes(6), offset: le64 } as const;

/** An address at which queues of a member in legacy use are notified (2.12.1.1.5). */
export const virtio_pci_legacy_notify_info: Struct<typeof notifyInfo> = struct(
  'virtio_pci_legacy_notify_info',
  notifyInfo,
);

/** The entries in the result of LEGACY_NOTIFY_INFO. */
export const notifyEntries = 4;

/** Whose BAR an entry names; 0 ends the list. */
export const notifyInfoFlag = Object.freeze({ END: 0, OWNER: 1, MEMBER: 2 } as const);

/** @internal The BAR of a member that has nothing but notifications at its start. */
export const ownersNotifyBar = 1;
