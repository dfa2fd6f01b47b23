import type { AccessWidth, PciAccess } from './access.ts';
import { virtio_pci_cfg_cap } from './registers.ts';

const { bar, offset, length, pci_cfg_data } = virtio_pci_cfg_cap.field;

/**
 * Reaches what is behind the BARs through the PCI_CFG capability, where BARs have no place. One access is
 * several of configuration space, so they take turns; a kick takes its turn too.
 *
 * @spec 4.1.4.9.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
 */
export class ConfigWindow {
  readonly #access: PciAccess;
  /** Where the capability stands. */
  readonly #at: number;
  readonly #onError: (error: unknown) => void;
  #last: Promise<unknown> = Promise.resolve();

  constructor(access: PciAccess, at: number, onError: (error: unknown) => void) {
    this.#access = access;
    this.#at = at;
    this.#onError = onError;
  }

  barRead(index: number, at: number, width: AccessWidth): Promise<number> {
    return this.#inTurn(async () => {
      await this.#aim(index, at, width);
      return await this.#access.configRead(this.#at + pci_cfg_data.offset, width);
    });
  }

  barWrite(index: number, at: number, width: AccessWidth, value: number): Promise<void> {
    return this.#inTurn(async () => {
      await this.#aim(index, at, width);
      await this.#access.configWrite(this.#at + pci_cfg_data.offset, width, value);
    });
  }

  barWriteNow(index: number, at: number, width: AccessWidth, value: number): void {
    this.barWrite(index, at, width, value).catch(this.#onError);
  }

  async #aim(index: number, at: number, width: AccessWidth): Promise<void> {
    await this.#access.configWrite(this.#at + bar.offset, 1, index);
    await this.#access.configWrite(this.#at + offset.offset, 4, at);
    await this.#access.configWrite(this.#at + length.offset, 4, width);
  }

  #inTurn<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}
