import { requestType } from './spec-requests.ts';

/** VIRTIO_BLK_T_* of the legacy interface alone. */
export const legacyRequestType = Object.freeze({
  /** SCSI packet commands, which VIRTIO_BLK_F_SCSI would offer: no disk of ours does. */
  SCSI_CMD: 2,
  SCSI_CMD_OUT: 3,
  /** Another name of FLUSH. */
  FLUSH_OUT: 5,
  /** Added to another type: what came before is done first, and what comes after waits. */
  BARRIER: 0x8000_0000,
} as const);

/** A legacy request's type, without what only legacy drivers say; `barriers` tells whether BARRIER was negotiated. */
export function readLegacyType(type: number, barriers: boolean): { type: number; isBarrier: boolean } {
  const { BARRIER, FLUSH_OUT } = legacyRequestType;
  const isBarrier = barriers && type >= BARRIER;
  const plain = isBarrier ? type - BARRIER : type;
  return { type: plain === FLUSH_OUT ? requestType.FLUSH : plain, isBarrier };
}
