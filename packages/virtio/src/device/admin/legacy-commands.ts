import { virtio_admin_cmd_legacy_rd_data, virtio_admin_cmd_legacy_wr_data } from '../../spec/admin.ts';
import type { AdminCall, AdminCommand, AdminCommands } from './call.ts';
import type { LegacyFields, MemberLegacy } from './group.ts';
import { invalidField } from './refusal.ts';

/**
 * The commands by which an owner's driver uses the legacy interface of a member for another driver. What they read and
 * write is as long as the buffers are: nothing else tells, so these are not taken to be padded.
 *
 * @spec 2.12.1.1.6 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
 */
export function legacyCommands(): AdminCommands {
  return {
    LEGACY_COMMON_CFG_WRITE: writing(({ common }) => common),
    LEGACY_COMMON_CFG_READ: reading(({ common }) => common),
    LEGACY_DEV_CFG_WRITE: writing(({ config }) => config),
    LEGACY_DEV_CFG_READ: reading(({ config }) => config),
    LEGACY_NOTIFY_INFO: { run: (call) => legacyOf(call).notifyInfo() },
  };
}

function reading(fieldsOf: (legacy: MemberLegacy) => LegacyFields): AdminCommand {
  return {
    run(call) {
      const { offset } = call.data.struct(virtio_admin_cmd_legacy_rd_data);
      return within(fieldsOf(legacyOf(call)), offset, call.room).read(offset, call.room);
    },
  };
}

function writing(fieldsOf: (legacy: MemberLegacy) => LegacyFields): AdminCommand {
  return {
    run(call) {
      const { offset } = call.data.struct(virtio_admin_cmd_legacy_wr_data);
      const length = call.data.remaining;
      within(fieldsOf(legacyOf(call)), offset, length).write(offset, call.data.bytes(length));
      return undefined;
    },
  };
}

function within(fields: LegacyFields, offset: number, length: number): LegacyFields {
  if (length > 0 && fields.holds(offset, length)) return fields;
  throw invalidField(`${length} bytes at ${offset} are not in one field`);
}

function legacyOf({ member }: AdminCall): MemberLegacy {
  if (member?.legacy !== undefined) return member.legacy;
  throw invalidField('the member has no legacy interface');
}
