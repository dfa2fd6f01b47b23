import { readLittle, writeLittle } from '../../device/little-endian.ts';
import type { BarContent } from './bar.ts';
import type { AddedCapability, BarChoice, CapabilityRoom } from './capability-room.ts';
import { refuse, within } from './refuse.ts';
import { cfgType, virtio_pci_cap64 } from './registers.ts';

const defaultBar: BarChoice = { bar: 4, kind: 'memory64' };

/**
 * A shared memory region (2.10) for a function's `capabilities`. `id` is what the device type gives it, 0 to 255.
 *
 * @throws {UsageError} BAD_ARGUMENT
 */
export function sharedMemory(id: number, bytes: Uint8Array): AddedCapability {
  return new SharedMemory(id, bytes);
}

/** Its bytes stand behind a BAR, for hosts that do not map them. */
class SharedMemory implements AddedCapability, BarContent {
  readonly #id: number;
  readonly #bytes: Uint8Array;

  constructor(id: number, bytes: Uint8Array) {
    within('the shared memory id', id, 0, 0xff);
    this.#id = id;
    this.#bytes = bytes;
  }

  /** @spec 4.1.4.7.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Shared memory capability */
  add(layout: CapabilityRoom, all: readonly AddedCapability[]): void {
    const regions = all.filter((one) => one instanceof SharedMemory);
    if (regions.filter((one) => one.#id === this.#id).length > 1) {
      refuse(`two shared memory regions have id ${this.#id}`);
    }
    const { length } = this.#bytes;
    const choice = layout.choices.sharedMemory ?? defaultBar;
    // A host can map the BAR when nothing else stands behind it.
    const whole = regions.length === 1 ? this.#bytes : undefined;
    const { bar, offset } = layout.place(choice, length, 4096, this, whole);
    layout.addVirtio(virtio_pci_cap64, {
      cfg_type: cfgType.SHARED_MEMORY_CFG,
      id: this.#id,
      bar,
      offset: offset % 2 ** 32,
      offset_hi: Math.floor(offset / 2 ** 32),
      length: length % 2 ** 32,
      length_hi: Math.floor(length / 2 ** 32),
    });
  }

  read(offset: number, width: number): number {
    return readLittle(this.#bytes, offset, width);
  }

  write(offset: number, width: number, value: number): void {
    writeLittle(this.#bytes, offset, width, value);
  }
}
