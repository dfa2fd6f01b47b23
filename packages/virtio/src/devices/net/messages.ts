import {
  type MessageReader,
  tracedFields,
  tracedStructure,
  valueName,
} from '../../device/traced-messages.ts';
import {
  announceCommand,
  coalescingCommand,
  controlAck,
  controlClass,
  guestOffloadsCommand,
  macCommand,
  mqCommand,
  rxCommand,
  virtio_net_ctrl,
  vlanCommand,
} from './spec-control.ts';
import { headerLength, virtio_net_hdr } from './spec-header.ts';

const commands: { readonly [C in keyof typeof controlClass]?: Readonly<Record<string, number>> } = {
  RX: rxCommand,
  MAC: macCommand,
  VLAN: vlanCommand,
  ANNOUNCE: announceCommand,
  MQ: mqCommand,
  GUEST_OFFLOADS: guestOffloadsCommand,
  NOTF_COAL: coalescingCommand,
};

/** What is in a message of a network device, for traces: the header of a frame, or a command and how it ended. */
export const netMessages: MessageReader = ({ queue, has, readable, written }) => {
  if (queue.startsWith('controlq')) {
    if (written !== undefined) return ended(written.bytes(0, 1)[0]);
    const [header] = tracedStructure(virtio_net_ctrl, readable);
    if (header === undefined) return [];
    return [{ ...header, kind: commandName(header.fields.class, header.fields.command) }];
  }
  const isReceived = queue.startsWith('receiveq');
  const from = isReceived ? written : readable;
  // What is sent is told of when it is taken, what is received when it is given back.
  if (from === undefined || (written !== undefined && !isReceived)) return [];
  const named = (feature: string): boolean => has(feature);
  return tracedFields(virtio_net_hdr, from, 0, headerLength(named, !has('VERSION_1')));
};

function ended(ack: number | undefined): ReturnType<MessageReader> {
  if (ack === undefined) return [];
  const kind = valueName(controlAck, ack);
  return [{ name: 'ack', ...(kind === undefined ? {} : { kind }), fields: { ack } }];
}

/** As in `RX.PROMISC`; numbers stand where there are no names. */
function commandName(ofClass: unknown, command: unknown): string {
  const className = Object.entries(controlClass).find(([, value]) => value === ofClass);
  const names = Object.entries(commands).find(([name]) => name === className?.[0])?.[1] ?? {};
  return `${className?.[0] ?? ofClass}.${valueName(names, command) ?? command}`;
}
