import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import type { PciMessage } from 'virtio/transports/pci';

/** A message carries one byte that is not 0. */
const mostMessages = 255;

/**
 * Lets MSI-X messages ring in this process. A message is a write to memory, of which the test protocol tells nothing. But the
 * emergency write register of a virtio console of QEMU's is memory too, and every byte that is written there leaves
 * QEMU by that console's character device.
 */
export class MessageBell {
  readonly #register: number;
  readonly #handlers = new Map<number, () => void>();

  /** @param register guest address of the console's emerg_wr; `socket` is the other end of its character device */
  constructor(register: number, socket: Socket) {
    this.#register = register;
    socket.on('data', (bytes: Buffer) => {
      // Once however often it was sent meanwhile: as processors do it.
      for (const data of new Set(bytes)) this.#handlers.get(data)?.();
    });
    socket.on('error', () => {}); // the test protocol's connection tells that QEMU is gone
  }

  /** A message that calls the handler; `undefined` when none is left. */
  allocate(handler: () => void): PciMessage | undefined {
    for (let data = 1; data <= mostMessages; data++) {
      if (this.#handlers.has(data)) continue;
      this.#handlers.set(data, handler);
      return { address: this.#register, data, free: () => void this.#handlers.delete(data) };
    }
    return undefined;
  }

  /** @throws {HostError} IO_ERROR when the console that QEMU has is no bell. */
  static at(register: number | undefined, socket: Socket): MessageBell {
    if (register === undefined)
      throw new HostError('IO_ERROR', "QEMU's console has no emergency write register");
    return new MessageBell(register, socket);
  }
}
