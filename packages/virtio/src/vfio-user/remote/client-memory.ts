import { PeerError } from '../../errors.ts';
import type { Access } from '../../memory/guest-memory.ts';
import type { Connection } from '../connection.ts';
import { badMessage } from '../connection.ts';
import type { DmaRegions } from '../dma-regions.ts';
import { vfio_user_dma_access } from '../messages.ts';

/** Fewer bytes than these in one message, and memory is not reached by messages at all. */
const leastTransfer = 4096;
/**
 * The most bytes in a message, and the most messages that are not answered yet. QEMU 11.1 takes a reply that its socket has
 * room for in part as sent in whole, so all replies together must fit into what Linux gives a socket.
 */
const most = { transfer: 32_768, unanswered: 4 };
/** A client that has so many accesses to its memory wait answers none. */
const mostWaiting = 4096;

/** The client there is now, and what it takes in one message. */
export interface ClientLink {
  readonly connection: Connection;
  /** Bytes. */
  readonly maxTransfer: number;
}

/** The server beneath. */
export interface ClientMemoryOwner {
  link(): ClientLink | undefined;
  /** Bytes of the client's memory were written. */
  wrote(address: number, length: number): void;
}

/**
 * The client's memory, as far as it was announced: what was shared is read and written in place, the rest by DMA_READ and
 * DMA_WRITE. Whatever cannot be read or written rejects with a PeerError ADDRESS_OUT_OF_BOUNDS.
 */
export class ClientMemory {
  readonly #dma: DmaRegions;
  readonly #owner: ClientMemoryOwner;
  #unanswered = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(dma: DmaRegions, owner: ClientMemoryOwner) {
    this.#dma = dma;
    this.#owner = owner;
  }

  /** True when every byte was announced for the access. */
  covers(address: number, length: number, access: Access): boolean {
    return this.#dma.parts(address, length, access) !== undefined;
  }

  /** Fills `target` from an address on. */
  async read(address: number, target: Uint8Array): Promise<void> {
    await this.#each(address, target, 'read');
  }

  /** Settles when the client has the bytes. */
  async write(address: number, bytes: Uint8Array): Promise<void> {
    await this.#each(address, bytes, 'write');
  }

  async #each(address: number, bytes: Uint8Array, access: Access): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      // Looked up anew for each message: regions may go away in between.
      const part = this.#dma.parts(address + at, bytes.length - at, access)?.[0];
      if (part === undefined) throw outOfReach(access, address + at, bytes.length - at);
      const piece = bytes.subarray(at, at + part.length);
      if (access === 'write') this.#owner.wrote(address + at, piece.length);
      if (part.memory === undefined) at += await this.#message(address + at, piece, access);
      else {
        if (access === 'read') piece.set(part.memory.read(address + at, piece.length));
        else part.memory.write(address + at, piece);
        at += piece.length;
      }
    }
  }

  /** One message, when it is its turn; gives how many bytes it was about. */
  async #message(address: number, bytes: Uint8Array, access: Access): Promise<number> {
    if (this.#unanswered >= most.unanswered) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        if (this.#waiting.length < mostWaiting) return;
        this.#owner.link()?.connection.fail(badMessage('the client does not answer for its memory'));
      });
    }
    this.#unanswered++;
    try {
      return await this.#ask(address, bytes, access);
    } finally {
      this.#unanswered--;
      this.#waiting.shift()?.();
    }
  }

  async #ask(address: number, bytes: Uint8Array, access: Access): Promise<number> {
    const link = this.#owner.link();
    if (link === undefined || link.maxTransfer < leastTransfer)
      throw outOfReach(access, address, bytes.length);
    const { connection } = link;
    const piece = bytes.subarray(0, Math.min(link.maxTransfer, most.transfer));
    const { size } = vfio_user_dma_access;
    const isRead = access === 'read';
    const head = vfio_user_dma_access.encode({ address: BigInt(address), count: BigInt(piece.length) });
    const asked = isRead
      ? connection.request('DMA_READ', [head], { least: size })
      : connection.request('DMA_WRITE', [head, piece]);
    const reply = await asked.catch((cause: unknown) => {
      throw outOfReach(access, address, piece.length, cause);
    });
    // QEMU answers a write with a header alone.
    if (isRead) {
      const data = reply.bytes.subarray(size);
      if (
        data.length !== piece.length ||
        vfio_user_dma_access.read(reply.view).count !== BigInt(piece.length)
      ) {
        const error = badMessage(`a read of ${piece.length} bytes of memory gave ${data.length}`);
        connection.fail(error);
        throw error;
      }
      piece.set(data);
    }
    return piece.length;
  }
}

function outOfReach(access: Access, address: number, length: number, cause?: unknown): PeerError {
  const why = cause instanceof Error ? cause.message : 'it is not memory that the client gave';
  const where = `${length} bytes at 0x${address.toString(16)}`;
  return new PeerError('ADDRESS_OUT_OF_BOUNDS', `a ${access} of ${where} failed: ${why}`);
}
