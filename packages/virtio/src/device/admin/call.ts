import type { AdminCommandName } from '../../spec/admin.ts';
import type { CommandData } from './command-data.ts';
import type { GroupMember } from './group.ts';

/** A command that passed the checks of its group, opcode and member. */
export interface AdminCall {
  readonly groupType: number;
  readonly memberId: number;
  /** The member that it is for; `undefined` in the self group. */
  readonly member: GroupMember | undefined;
  readonly data: CommandData;
  /** Bytes that the driver left for the command's own result. */
  readonly room: number;
}

/** The bytes of a command's own result; none for `undefined`. */
export type AdminResult = Uint8Array | undefined;

/** A command that a group has. */
export interface AdminCommand {
  /** `group_member_id` is not used by the command, and not looked at. */
  readonly ignoresMember?: boolean;
  /** @throws {AdminRefusal} when it is not carried out; then nothing has changed. */
  run(call: AdminCall): AdminResult | Promise<AdminResult>;
}

/** Commands by the name of their opcode. */
export type AdminCommands = { readonly [N in AdminCommandName]?: AdminCommand };
