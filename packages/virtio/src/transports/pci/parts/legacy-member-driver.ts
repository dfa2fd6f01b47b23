import type { AdminGroup } from '../../../driver/admin/group.ts';
import type { OpenAdmin } from '../../../driver/admin/open-admin.ts';
import { zeroExtended } from '../../../driver/admin/zero-extended.ts';
import { UsageError } from '../../../errors.ts';
import {
  type AdminCommandName,
  groupType,
  virtio_admin_cmd_legacy_rd_data,
  virtio_admin_cmd_legacy_wr_data,
} from '../../../spec/admin.ts';
import { joined } from '../../../spec/joined.ts';
import { type LegacyRegister, legacyRegisters } from '../legacy-registers.ts';
import type { Registers } from '../register-access.ts';
import { notifyEntries, notifyInfoFlag, virtio_pci_legacy_notify_info } from './legacy-notify.ts';

/** The BARs where a member's queues may be notified. */
export interface LegacyNotifyBars {
  /** Bytes of a BAR of the owner or of the member; `undefined` where it does not exist. */
  size(whose: 'owner' | 'member', bar: number): number | undefined;
  /** Writes 16 bits. */
  write(whose: 'owner' | 'member', bar: number, offset: number, value: number): Promise<void>;
}

/** An address at which the queues of a member can be notified. */
interface NotifyAddress {
  readonly whose: 'owner' | 'member';
  readonly bar: number;
  readonly offset: number;
}

/**
 * The legacy interface of a virtual function, which the driver of its owner reaches by commands: so a hypervisor
 * presents it to a legacy driver. Each access is one of a single field, little-endian.
 *
 * @spec 2.12.1.1.7 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Legacy Interface
 */
export class LegacyMember implements Registers<LegacyRegister> {
  readonly #group: AdminGroup;
  readonly #id: number;

  private constructor(group: AdminGroup, id: number) {
    this.#group = group;
    this.#id = id;
  }

  /** @throws {UsageError} NOT_NEGOTIATED when the owner has no virtual functions with a legacy interface. */
  static async open(admin: OpenAdmin, id: number): Promise<LegacyMember> {
    const group = await admin.group(groupType.SR_IOV);
    if (group?.commands.has('LEGACY_COMMON_CFG_READ') === true) return new LegacyMember(group, id);
    throw new UsageError('NOT_NEGOTIATED', 'the owner has no virtual functions with a legacy interface');
  }

  async read(name: LegacyRegister): Promise<number> {
    const { offset, width } = legacyRegisters.register[name];
    const view = zeroExtended(await this.#read('LEGACY_COMMON_CFG_READ', offset, width), 4);
    return view.getUint32(0, true);
  }

  async write(name: LegacyRegister, value: number): Promise<void> {
    const { offset, width } = legacyRegisters.register[name];
    const bytes = Uint8Array.from({ length: width }, (_, i) => value >>> (8 * i));
    await this.#write('LEGACY_COMMON_CFG_WRITE', offset, bytes);
  }

  /** A field of the device's own configuration, or a part of one: bytes of little-endian numbers. */
  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const view = zeroExtended(await this.#read('LEGACY_DEV_CFG_READ', offset, length), length);
    return new Uint8Array(view.buffer);
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#write('LEGACY_DEV_CFG_WRITE', offset, bytes);
  }

  /** How to notify a queue: at an address that the device gives, or by a command where it gives none that is usable. */
  async notifier(bars: LegacyNotifyBars): Promise<(queue: number) => Promise<void>> {
    const [best] = await this.#notifyAddresses(bars);
    if (best === undefined) return (queue) => this.write('queue_notify', queue);
    return (queue) => bars.write(best.whose, best.bar, best.offset, queue);
  }

  /** The usable ones, in the device's order of preference. */
  async #notifyAddresses(bars: LegacyNotifyBars): Promise<NotifyAddress[]> {
    if (!this.#group.commands.has('LEGACY_NOTIFY_INFO')) return [];
    const { size } = virtio_pci_legacy_notify_info;
    const room = notifyEntries * size;
    const result = await this.#group.send({ name: 'LEGACY_NOTIFY_INFO', memberId: this.#id, room });
    const view = zeroExtended(result, room);
    const usable: NotifyAddress[] = [];
    for (let entry = 0; entry < notifyEntries; entry++) {
      const { flags, bar, offset } = virtio_pci_legacy_notify_info.read(view, entry * size);
      if (flags === notifyInfoFlag.END) break;
      if (flags !== notifyInfoFlag.OWNER && flags !== notifyInfoFlag.MEMBER) continue;
      const whose = flags === notifyInfoFlag.OWNER ? 'owner' : 'member';
      const length = bar >= 1 && bar <= 5 ? (bars.size(whose, bar) ?? 0) : 0;
      if (offset % 2n === 0n && offset + 2n <= BigInt(length)) {
        usable.push({ whose, bar, offset: Number(offset) });
      }
    }
    return usable;
  }

  #read(name: AdminCommandName, offset: number, room: number): Promise<Uint8Array> {
    const data = virtio_admin_cmd_legacy_rd_data.encode({ offset });
    return this.#group.send({ name, memberId: this.#id, data, room, exact: true });
  }

  #write(name: AdminCommandName, offset: number, bytes: Uint8Array): Promise<Uint8Array> {
    const data = joined(virtio_admin_cmd_legacy_wr_data.encode({ offset }), bytes);
    return this.#group.send({ name, memberId: this.#id, data, exact: true });
  }
}
