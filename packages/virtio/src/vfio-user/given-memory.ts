import type { GuestMemory } from '../memory/guest-memory.ts';
import { type Answer, type Command, number64, refuse } from './command.ts';
import { vfio_user_dma_access } from './messages.ts';

/** A driver's memory, for a device that asks for it by messages: no byte of it that the device was not given. */
export class GivenMemory {
  readonly #memory: GuestMemory | undefined;
  readonly #maxTransfer: number;
  readonly #ranges: { readonly address: number; readonly end: number }[] = [];

  /** `maxTransfer`: the most bytes in one access. */
  constructor(memory: GuestMemory | undefined, maxTransfer: number) {
    this.#memory = memory;
    this.#maxTransfer = maxTransfer;
  }

  add(address: number, size: number): void {
    this.#ranges.push({ address, end: address + size });
  }

  remove(address: number, size: number): void {
    const at = this.#ranges.findIndex((range) => range.address === address && range.end === address + size);
    if (at !== -1) this.#ranges.splice(at, 1);
  }

  /** Answers DMA_READ and DMA_WRITE. */
  serve(command: Command): Answer {
    const { address, count } = command.read(vfio_user_dma_access);
    const start = number64(address, 'the address');
    const length = number64(count, 'the count');
    const { size } = vfio_user_dma_access;
    const isWrite = command.name === 'DMA_WRITE';
    if (length > this.#maxTransfer) refuse('E2BIG', `${length} bytes in one access`);
    const found = command.length - size;
    if (isWrite && found !== length) refuse('EINVAL', `a write of ${length} bytes came with ${found}`);
    const memory = this.#memory;
    if (!this.#holds(start, start + length) || memory?.contains(start, length) !== true) {
      return refuse('EFAULT', `${length} bytes at ${start} are not all memory that the device was given`);
    }
    const head = command.data(0).subarray(0, size);
    if (!isWrite) return { payload: [head, memory.read(start, length)] };
    memory.write(start, command.data(size));
    return { payload: [head] };
  }

  /** Ranges may lie side by side. */
  #holds(start: number, end: number): boolean {
    for (let at = start; at < end; ) {
      const range = this.#ranges.find((one) => at >= one.address && at < one.end);
      if (range === undefined) return false;
      at = range.end;
    }
    return true;
  }
}
