import type { DeviceGroup, GroupMember } from '../../../device/admin/group.ts';
import { UsageError } from '../../../errors.ts';
import { groupType } from '../../../spec/admin.ts';
import type { PciFunction } from '../device.ts';
import { startPciFunction } from '../stopping.ts';
import { memberLegacy } from './legacy-member.ts';
import { PciMember } from './member.ts';

/**
 * The virtual functions of an owner. Whoever presents the owner's SR-IOV capability to the guest tells the
 * group of VF Enable and NumVFs; the group does not exist before that.
 *
 * @example
 * const group = new SriovGroup([first, second]);
 * const owner = administer(blkDevice({ storage }), { groups: [group] });
 * group.enableVfs();
 *
 * @spec 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
 */
export class SriovGroup implements DeviceGroup {
  readonly type: number = groupType.SR_IOV;
  readonly #functions: readonly PciFunction[];
  #members: readonly PciMember[] = [];
  #enabled = false;

  /** The virtual functions, VF 1 first: all that there can be. */
  constructor(functions: readonly PciFunction[]) {
    const hasBar0 = functions.some(({ bars }) => bars[0]?.index === 0);
    if (hasBar0 && functions.some((one) => memberLegacy(one) !== undefined)) {
      throw new UsageError('BAD_ARGUMENT', 'virtual functions with a legacy interface have no BAR 0');
    }
    this.#functions = functions;
  }

  /**
   * VF Enable was set.
   *
   * @throws {UsageError} BAD_ARGUMENT for a NumVFs above what there is.
   */
  enableVfs(numVfs: number = this.#functions.length): void {
    if (!(numVfs >= 0 && numVfs <= this.#functions.length)) {
      throw new UsageError('BAD_ARGUMENT', `NumVFs is ${numVfs}, of ${this.#functions.length}`);
    }
    this.disableVfs();
    this.#enabled = true;
    this.#members = this.#functions.slice(0, numVfs).map((one) => new PciMember(one));
  }

  /** VF Enable was cleared: the functions are gone, and as new when they come back. */
  disableVfs(): void {
    for (const one of this.#functions.slice(0, this.#members.length)) {
      one.reset();
      startPciFunction(one);
    }
    this.#enabled = false;
    this.#members = [];
  }

  get legacy(): boolean {
    return this.#functions.length > 0 && this.#functions.every((one) => memberLegacy(one) !== undefined);
  }

  get exists(): boolean {
    return this.#enabled;
  }

  member(id: number): GroupMember | undefined {
    return this.#members[id - 1];
  }
}
