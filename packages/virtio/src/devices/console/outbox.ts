import type { ActiveQueue } from '../../device/active-queue.ts';
import { PeerError } from '../../errors.ts';
import type { MessageState } from './saved.ts';
import { consoleClauses, controlEvent, virtio_console_control } from './spec.ts';

/** A message to the driver, and what follows it. */
export interface ControlMessage {
  readonly id: number;
  readonly event: number;
  readonly value: number;
  readonly payload?: Uint8Array;
}

/**
 * Control messages that wait for buffers of the control receiveq. A newer message takes the place of an older
 * one of the same event and port, so a driver that gives no buffers costs a few messages for each port.
 */
export class Outbox {
  readonly #messages = new Map<string, ControlMessage>();

  post(message: ControlMessage): void {
    this.#messages.set(`${message.id} ${message.event}`, message);
  }

  /** Forgets what the driver has not heard of a port; true when it has not even heard that the port exists. */
  withdraw(id: number): boolean {
    const unheard = this.#messages.has(`${id} ${controlEvent.DEVICE_ADD}`);
    for (const [key, message] of this.#messages) {
      if (message.id === id && message.event !== controlEvent.DEVICE_REMOVE) this.#messages.delete(key);
    }
    return unheard;
  }

  clear(): void {
    this.#messages.clear();
  }

  /** Sends as many messages as the driver has given buffers for. A name is cut where its buffer ends. */
  send(queue: ActiveQueue): void {
    queue.batch(() => {
      for (const [key, message] of this.#messages) {
        const chain = queue.take();
        if (chain === undefined) return;
        if (chain.readable.length > 0) throw misdirected(queue.label, 'readable');
        chain.writable.struct(virtio_console_control, message);
        if (message.payload !== undefined) chain.writable.write(message.payload);
        queue.complete(chain);
        this.#messages.delete(key);
      }
    });
  }

  save(): MessageState[] {
    return Array.from(this.#messages.values(), ({ payload = [], ...message }) => ({
      ...message,
      payload: Array.from(payload),
    }));
  }
}

/** A buffer of the wrong direction. */
export function misdirected(queue: string, direction: 'readable' | 'writable'): PeerError {
  return new PeerError(
    'BAD_REQUEST',
    `a device-${direction} buffer was put in ${queue}`,
    consoleClauses.direction,
  );
}
