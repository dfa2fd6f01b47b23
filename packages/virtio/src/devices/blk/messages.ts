import { type MessageReader, tracedStructure, valueName } from '../../device/traced-messages.ts';
import { requestStatus, requestType, virtio_blk_req } from './spec-requests.ts';

/** What is in a request, for traces: its header, and then its status, which is the last byte of all. */
export const blkMessages: MessageReader = ({ readable, written }) => {
  if (written === undefined) {
    const [header] = tracedStructure(virtio_blk_req, readable);
    if (header === undefined) return [];
    const kind = valueName(requestType, header.fields.type);
    return [{ ...header, ...(kind === undefined ? {} : { kind }) }];
  }
  const [status] = written.bytes(written.length - 1, 1);
  if (status === undefined) return [];
  const kind = valueName(requestStatus, status);
  return [{ name: 'status', ...(kind === undefined ? {} : { kind }), fields: { status } }];
};
