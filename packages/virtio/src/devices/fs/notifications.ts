import type { ActiveQueue } from '../../device/active-queue.ts';
import { PeerError } from '../../errors.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import type { Session } from './session.ts';
import { longestName, notifyCode } from './spec-fuse.ts';
import {
  fuse_notify_delete_out,
  fuse_notify_inval_entry_out,
  fuse_notify_inval_inode_out,
  fuse_out_header,
} from './spec-fuse-structs.ts';
import { encodeName } from './spec-names.ts';

/**
 * Bytes of the longest message that is ever told: of a name that was removed.
 * @spec 5.11.4.2 device: Device Types / File System Device / Device configuration layout
 */
export const longestNotification: number =
  fuse_out_header.size + fuse_notify_delete_out.size + longestName + 1;

/** Messages that wait for buffers; more are refused. */
const mostWaiting = 1024;

/** What the guest is to be told without having asked. */
export class Notifications {
  readonly #session: Session;
  readonly #queue: () => ActiveQueue | undefined;
  readonly #waiting: Uint8Array[] = [];

  constructor(session: Session, queue: () => ActiveQueue | undefined) {
    this.#session = session;
    this.#queue = queue;
  }

  /** How many messages wait for the driver's buffers. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get mayTell(): boolean {
    return this.#queue() !== undefined;
  }

  clear(): void {
    this.#waiting.length = 0;
  }

  /** What the guest keeps of a file is old: its data in a range, all unless told, and its attributes. */
  file(node: object, offset = 0, length = 0): boolean {
    const known = this.#session.nodes.find(node);
    // What it does not know it keeps nothing of.
    if (known === undefined) return this.mayTell;
    const body = this.#encode(fuse_notify_inval_inode_out, { ino: known.id, off: offset, len: length });
    return this.#tell(notifyCode.INVAL_INODE, body);
  }

  /** What a name stands for is to be asked anew. */
  name(directory: object, name: string): boolean {
    const known = this.#session.nodes.find(directory);
    if (known === undefined) return this.mayTell;
    const bytes = encodeName(name);
    const body = this.#encode(fuse_notify_inval_entry_out, { parent: known.id, namelen: bytes.length });
    return this.#tell(notifyCode.INVAL_ENTRY, joined(body, bytes, nul));
  }

  /** A name is gone, and the file that had it may be. */
  removed(directory: object, node: object, name: string): boolean {
    const known = this.#session.nodes.find(directory);
    const child = this.#session.nodes.find(node);
    if (known === undefined) return this.mayTell;
    if (child === undefined) return this.name(directory, name);
    const bytes = encodeName(name);
    const body = this.#encode(fuse_notify_delete_out, {
      ...{ parent: known.id, child: child.id, namelen: bytes.length },
    });
    return this.#tell(notifyCode.DELETE, joined(body, bytes, nul));
  }

  /** Sends what waits, as far as the driver has given buffers. */
  flush(): void {
    const queue = this.#queue();
    queue?.batch(() => {
      while (this.#waiting.length > 0) {
        const chain = queue.take();
        if (chain === undefined) return;
        const { readable, writable } = chain;
        if (readable.length > 0 || writable.length < longestNotification) {
          throw new PeerError(
            'BAD_REQUEST',
            `a notification buffer has ${readable.length} bytes to read and ${writable.length} to write`,
            'driver: Device Types / File System Device / Device Operation / Device Operation: Notification Queue',
          );
        }
        const message = this.#waiting.shift();
        if (message !== undefined) writable.write(message);
        queue.complete(chain);
      }
    });
  }

  #tell(code: number, body: Uint8Array): boolean {
    if (this.#queue() === undefined || this.#waiting.length >= mostWaiting) return false;
    const len = fuse_out_header.size + body.length;
    const header = this.#encode(fuse_out_header, { len, error: code, unique: 0n });
    this.#waiting.push(joined(header, body));
    this.flush();
    return true;
  }

  #encode<F extends Fields>(layout: Struct<F>, value: Partial<StructValue<F>>): Uint8Array {
    const bytes = new Uint8Array(layout.size);
    layout.write(this.#session.viewOf(bytes), 0, value);
    return bytes;
  }
}

const nul: Uint8Array = Uint8Array.of(0);
