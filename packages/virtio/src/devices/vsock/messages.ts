import { type MessageReader, tracedStructure, valueName } from '../../device/traced-messages.ts';
import { virtio_vsock_event, virtio_vsock_hdr, vsockEvent, vsockOp } from './spec.ts';

/** What is in a packet or an event, for traces. */
export const vsockMessages: MessageReader = ({ queue, readable, written }) => {
  const isEvent = queue === 'event';
  const [message] = tracedStructure(isEvent ? virtio_vsock_event : virtio_vsock_hdr, written ?? readable);
  if (message === undefined) return [];
  const { id, op } = message.fields;
  const kind = isEvent ? valueName(vsockEvent, id) : valueName(vsockOp, op);
  return [{ ...message, ...(kind === undefined ? {} : { kind }) }];
};
