import type { OpenDevice } from '../../driver/open-device.ts';
import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import type { fs } from './spec.ts';
import { longestName, notifyCode } from './spec-fuse.ts';
import {
  fuse_notify_delete_out,
  fuse_notify_inval_entry_out,
  fuse_notify_inval_inode_out,
  fuse_out_header,
} from './spec-fuse-structs.ts';
import { decodeName } from './spec-names.ts';

/** What a device tells without being asked; nodes are by its own numbers. */
export type FsNotification =
  | { readonly kind: 'file'; readonly node: number; readonly offset: number; readonly length: number }
  | { readonly kind: 'name'; readonly directory: number; readonly name: string }
  | { readonly kind: 'removed'; readonly directory: number; readonly node: number; readonly name: string }
  | { readonly kind: 'other'; readonly code: number; readonly body: Uint8Array };

/** Buffers that the device always has. */
const buffers = 16;

/** The longest buffer that a device may ask for, in bytes. */
const longestBuffer = 65_536;

/**
 * Gives the device buffers, and each again when it comes back.
 *
 * @throws {PeerError} CONFIG_INVALID for buffers of no sensible size.
 * @spec 5.11.6.3.1 driver: Device Types / File System Device / Device Operation / Device Operation: Notification Queue
 */
export function takeNotifications(
  device: OpenDevice<typeof fs>,
  listener: (notification: FsNotification) => void,
): void {
  const queue = device.queue('notification');
  const size = Math.max(device.config.notify_buf_size ?? 0, fuse_out_header.size);
  if (size > longestBuffer) {
    throw new PeerError('BAD_RESPONSE', `the file system device wants buffers of ${size} bytes`);
  }
  const offer = (address: number): void => {
    if (queue.closed) return;
    queue.submit([], [{ address, length: size }], (written, failure) => {
      if (failure !== undefined) return;
      const message = queue.memory.read(address, Math.min(written, size));
      // The device is never without a buffer for longer than it takes to read one.
      offer(address);
      const told = decode(message);
      if (told instanceof PeerError) device.fail(told);
      else listener(told);
    });
  };
  for (let i = 0; i < Math.min(buffers, queue.size); i++) offer(queue.allocate(size));
}

/** What a message says; an error where it is none. */
function decode(message: Uint8Array): FsNotification | PeerError {
  const wrong = new PeerError(
    'BAD_RESPONSE',
    `the file system device told something of ${message.length} bytes that is no notification`,
  );
  if (message.length < fuse_out_header.size) return wrong;
  const { len, error: code, unique } = fuse_out_header.read(dataView(message));
  if (len < fuse_out_header.size || len > message.length || unique !== 0n) return wrong;
  const body = message.slice(fuse_out_header.size, len);
  const view = dataView(body);
  const name = (at: number, length: number): string | undefined => {
    if (length === 0 || length > longestName || at + length > body.length) return undefined;
    return decodeName(body, at, at + length);
  };
  if (code === notifyCode.INVAL_INODE) {
    if (body.length < fuse_notify_inval_inode_out.size) return wrong;
    const { ino, off, len: length } = fuse_notify_inval_inode_out.read(view);
    return { kind: 'file', node: ino, offset: off, length };
  }
  if (code === notifyCode.INVAL_ENTRY) {
    if (body.length < fuse_notify_inval_entry_out.size) return wrong;
    const { parent, namelen } = fuse_notify_inval_entry_out.read(view);
    const named = name(fuse_notify_inval_entry_out.size, namelen);
    return named === undefined ? wrong : { kind: 'name', directory: parent, name: named };
  }
  if (code === notifyCode.DELETE) {
    if (body.length < fuse_notify_delete_out.size) return wrong;
    const { parent, child, namelen } = fuse_notify_delete_out.read(view);
    const named = name(fuse_notify_delete_out.size, namelen);
    return named === undefined ? wrong : { kind: 'removed', directory: parent, node: child, name: named };
  }
  return { kind: 'other', code, body };
}
