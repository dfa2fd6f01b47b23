import { type MessageReader, tracedStructure, valueName } from '../../device/traced-messages.ts';
import { controlEvent, virtio_console_control, virtio_console_resize } from './spec.ts';

/** What is in a control message, for traces; what goes through ports is nobody's but its readers'. */
export const consoleMessages: MessageReader = ({ queue, readable, written }) => {
  if (!queue.startsWith('control')) return [];
  const from = written ?? readable;
  const [message] = tracedStructure(virtio_console_control, from);
  if (message === undefined) return [];
  const kind = valueName(controlEvent, message.fields.event);
  const size =
    kind === 'RESIZE' ? tracedStructure(virtio_console_resize, from, virtio_console_control.size) : [];
  return [{ ...message, ...(kind === undefined ? {} : { kind }) }, ...size];
};
