import { type DevicePart, partKey } from '../../../device/admin/device-part.ts';
import type { GroupMember, MemberLegacy } from '../../../device/admin/group.ts';
import { invalidField } from '../../../device/admin/refusal.ts';
import type { Session } from '../../../device/session.ts';
import { dataView } from '../../../spec/data-view.ts';
import type { PciFunction } from '../device.ts';
import type { PciFunctionState } from '../options.ts';
import { restoreVirtio, savePciFunction } from '../saving.ts';
import { startPciFunction, stopPciFunction } from '../stopping.ts';
import { commonConfig } from './common-config-kind.ts';
import { deviceFeatures, deviceStatus, driverFeatures } from './device-kinds.ts';
import { memberLegacy } from './legacy-member.ts';
import { deviceState, queuePosition } from './own-kinds.ts';
import type { PartKind } from './part-kind.ts';
import { queueConfig, queueNotifyConfig } from './queue-kinds.ts';
import { withRings } from './rings.ts';

/** In the order of 2.12.1.4.4, and ours behind them. */
const kinds: readonly PartKind[] = [
  deviceFeatures,
  driverFeatures,
  commonConfig,
  deviceStatus,
  queueConfig,
  queueNotifyConfig,
  queuePosition,
  deviceState,
];

const noSelector = new Uint8Array(8);

/**
 * A PCI function as a member of a group: what its owner can do with it.
 *
 * @spec 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export class PciMember implements GroupMember {
  readonly #function: PciFunction;
  /** Parts that were set and take effect when the function goes on; void after a reset. */
  #given = new Map<string, DevicePart>();
  #givenAt: Session | undefined;

  constructor(pciFunction: PciFunction) {
    this.#function = pciFunction;
  }

  get legacy(): MemberLegacy | undefined {
    return memberLegacy(this.#function);
  }

  get stopped(): boolean {
    return this.#function.stopped;
  }

  stop(): Promise<void> {
    return stopPciFunction(this.#function);
  }

  parts(): readonly DevicePart[] {
    const state = savePciFunction(this.#function);
    return kinds.flatMap((kind) =>
      kind.read(this.#function, state).map(({ selector = noSelector, value }) => ({
        type: kind.type,
        optional: kind.optional === true,
        variable: kind.variable === true,
        selector,
        value,
      })),
    );
  }

  setParts(parts: readonly DevicePart[]): void {
    const { session } = this.#function.core;
    const together = new Map(this.#givenAt === session ? this.#given : []);
    for (const part of parts) together.set(partKey(part.type, part.selector), part);
    this.#stateWith(together);
    this.#given = together;
    this.#givenAt = session;
  }

  resume(): void {
    if (!this.stopped) return;
    if (this.#given.size > 0 && this.#givenAt === this.#function.core.session) this.#goOnWith(this.#given);
    this.#given = new Map();
    startPciFunction(this.#function);
  }

  #goOnWith(given: ReadonlyMap<string, DevicePart>): void {
    const before = savePciFunction(this.#function);
    const after = withRings(this.#stateWith(given), this.#function.core.memory);
    try {
      restoreVirtio(this.#function, after);
    } catch (error) {
      restoreVirtio(this.#function, before);
      this.#givenAt = this.#function.core.session;
      throw invalidField(`the parts make no device: ${String(error)}`);
    }
  }

  /** The function's state with parts in it, in the order of their kinds. */
  #stateWith(given: ReadonlyMap<string, DevicePart>): PciFunctionState {
    let state = savePciFunction(this.#function);
    for (const kind of kinds) {
      for (const { type, value, selector } of given.values()) {
        if (type === kind.type) state = kind.take(this.#function, state, dataView(value), dataView(selector));
      }
    }
    return state;
  }
}
