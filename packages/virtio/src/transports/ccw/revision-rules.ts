import type { Revision, VirtioCommandName } from './commands.ts';

/** The revision that brought a command, where it is not the first. */
const since: Partial<Readonly<Record<VirtioCommandName, Revision>>> = { READ_STATUS: 2 };

/** Which revision of virtio-ccw a driver uses, and what it may do at it. */
export class RevisionRules {
  readonly #highest: Revision;
  readonly #transitional: boolean;
  readonly #without: boolean;
  #selected: Revision | undefined;

  /** A transitional device knows revision 0 too; drivers that select none are at it. `without` knows no selection. */
  constructor(highest: Revision, transitional: boolean, without = false) {
    this.#highest = highest;
    this.#transitional = transitional;
    this.#without = without;
  }

  /** `undefined` until the driver has selected one, or has shown that it never will. */
  get selected(): Revision | undefined {
    return this.#selected;
  }

  /**
   * The driver wants a revision. False where it cannot have it.
   *
   * @spec 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
   */
  select(revision: number, length: number): boolean {
    const known = isRevision(revision) && revision <= this.#highest && (revision > 0 || this.#transitional);
    if (this.#selected !== undefined || !known || length !== 0) return false;
    this.#selected = revision;
    return true;
  }

  /** True when the driver may use a command now. Its first tells a legacy driver from others. */
  allows(command: VirtioCommandName): boolean {
    if (command === 'SET_VIRTIO_REV') return this.#selected === undefined && !this.#without;
    if (this.#selected === undefined && this.#transitional) this.#selected = 0;
    return this.#selected !== undefined && this.#selected >= (since[command] ?? 0);
  }

  /** The subchannel was enabled or disabled. */
  unset(): void {
    this.#selected = undefined;
  }

  restore(selected: Revision | undefined): void {
    this.#selected = selected;
  }
}

const isRevision = (value: number): value is Revision => value === 0 || value === 1 || value === 2;
