import { type AdminCommandName, adminOpcode } from '../../spec/admin.ts';
import type { AdminCommand, AdminCommands } from './call.ts';
import type { DeviceGroup, GroupMember } from './group.ts';
import { listCommands } from './list-commands.ts';
import { AdminRefusal } from './refusal.ts';

/** What is legal before LIST_USE. */
const initialList: readonly number[] = [adminOpcode.LIST_QUERY, adminOpcode.LIST_USE];

/**
 * A group with its commands, and the list of those that the driver uses. `group` is `undefined` for the self
 * group.
 */
export class ServedGroup {
  readonly type: number;
  readonly #group: DeviceGroup | undefined;
  readonly #commands = new Map<number, AdminCommand>();
  #used: ReadonlySet<number> = new Set(initialList);

  constructor(type: number, group: DeviceGroup | undefined, commands: AdminCommands) {
    this.type = type;
    this.#group = group;
    const lists = listCommands({
      supported: () => [...this.#commands.keys()],
      use: (opcodes) => {
        this.#used = new Set(opcodes);
      },
    });
    // The keys of a table of commands are the names of commands.
    for (const [name, command] of Object.entries({ ...lists, ...commands }) as [
      AdminCommandName,
      AdminCommand,
    ][]) {
      this.#commands.set(adminOpcode[name], command);
    }
  }

  /** The opcodes that the driver uses. */
  get used(): readonly number[] {
    return [...this.#used];
  }

  /** Takes a saved list; opcodes that the group does not have are left out. */
  restore(used: readonly number[]): void {
    this.#used = new Set(used.filter((opcode) => this.#commands.has(opcode)));
  }

  reset(): void {
    this.#used = new Set(initialList);
  }

  get exists(): boolean {
    return this.#group === undefined || this.#group.exists;
  }

  /** @throws {AdminRefusal} EINVAL for one that the group does not have, or the driver does not use. */
  command(opcode: number): AdminCommand {
    const command = this.#commands.get(opcode);
    if (command !== undefined && this.#used.has(opcode)) return command;
    const why = command === undefined ? 'supported' : 'in the list that the driver uses';
    throw new AdminRefusal('EINVAL', 'INVALID_OPCODE', `command ${opcode} is not ${why}`);
  }

  /**
   * The member of an identifier; `undefined` is the owner itself.
   *
   * @throws {AdminRefusal} EINVAL when there is none.
   */
  member(id: bigint): GroupMember | undefined {
    const member = this.#group?.member(Number(id));
    if (this.#group === undefined ? id === 0n : member !== undefined) return member;
    throw new AdminRefusal('EINVAL', 'INVALID_MEMBER', `the group has no member ${id}`);
  }

  /** Whether an object's member is the one that it was created for. */
  isMember(id: number, member: GroupMember | undefined): boolean {
    return this.exists && this.#group?.member(id) === member;
  }
}
