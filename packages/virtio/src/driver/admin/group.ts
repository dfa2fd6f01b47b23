import { UsageError } from '../../errors.ts';
import { type AdminCommandName, adminOpcode } from '../../spec/admin.ts';
import { decodeBitmap, encodeBitmap } from '../../spec/bitmap.ts';
import type { AdminChannel, SentCommand } from './channel.ts';
import { AdminError } from './error.ts';

/** The commands that this driver knows how to use. */
const understood: ReadonlySet<AdminCommandName> = new Set<AdminCommandName>([
  'LIST_QUERY',
  'LIST_USE',
  'LEGACY_COMMON_CFG_WRITE',
  'LEGACY_COMMON_CFG_READ',
  'LEGACY_DEV_CFG_WRITE',
  'LEGACY_DEV_CFG_READ',
  'LEGACY_NOTIFY_INFO',
  'CAP_ID_LIST_QUERY',
  'DEVICE_CAP_GET',
  'DRIVER_CAP_SET',
  'RESOURCE_OBJ_CREATE',
  'RESOURCE_OBJ_QUERY',
  'RESOURCE_OBJ_MODIFY',
  'RESOURCE_OBJ_DESTROY',
  'DEV_PARTS_METADATA_GET',
  'DEV_PARTS_GET',
  'DEV_PARTS_SET',
  'DEV_MODE_SET',
]);

/** Bytes for the opcodes that there are. */
const listRoom = 8;

/** A group of devices, with the commands that its owner and this driver have agreed on. */
export class AdminGroup {
  /** The group type identifier. */
  readonly type: number;
  readonly commands: ReadonlySet<AdminCommandName>;
  readonly #channel: AdminChannel;

  private constructor(type: number, commands: ReadonlySet<AdminCommandName>, channel: AdminChannel) {
    this.type = type;
    this.commands = commands;
    this.#channel = channel;
  }

  /**
   * Asks for the group's commands and tells which of them will be used; `undefined` when the device has no
   * such group.
   *
   * @spec 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
   */
  static async open(channel: AdminChannel, type: number): Promise<AdminGroup | undefined> {
    const list = { groupType: type, memberId: 0 };
    let supported: Uint8Array;
    try {
      supported = await channel.send({ ...list, name: 'LIST_QUERY', room: listRoom });
    } catch (error) {
      if (error instanceof AdminError && error.qualifier === 'INVALID_GROUP') return undefined;
      throw error;
    }
    const opcodes = new Set(decodeBitmap(supported));
    const commands = new Set([...understood].filter((name) => opcodes.has(adminOpcode[name])));
    const data = encodeBitmap([...commands].map((name) => adminOpcode[name]));
    await channel.sendAlone({ ...list, name: 'LIST_USE', data });
    return new AdminGroup(type, commands, channel);
  }

  /**
   * Sends a command to the group.
   *
   * @throws {UsageError} NOT_NEGOTIATED for one that is not among `commands`; what sending throws.
   */
  async send(command: Omit<SentCommand, 'groupType'>): Promise<Uint8Array> {
    if (!this.commands.has(command.name)) {
      throw new UsageError('NOT_NEGOTIATED', `group ${this.type} of the device has no ${command.name}`);
    }
    return this.#channel.send({ ...command, groupType: this.type });
  }
}
