import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { VirtioError } from '../../errors.ts';
import {
  type AdminCommandName,
  adminOpcode,
  adminQualifier,
  adminStatus,
  virtio_admin_cmd,
} from '../../spec/admin.ts';
import type { CapabilityType } from '../../spec/capability.ts';
import { deviceType } from '../../spec/device-type.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { joined } from '../../spec/joined.ts';
import { le16, le32, le64, struct, u8 } from '../../spec/layout.ts';
import type { ResourceObjectKind } from '../../spec/resource-object.ts';
import { type ConnectedPci, connectPci } from '../../transports/pci/connect.ts';
import { device } from '../device.ts';
import { type AdministerOptions, administer } from './administer.ts';
import { capability } from './capabilities.ts';
import type { ResourceObject, ResourceObjectType } from './resource-object.ts';

/** A library: shelves, and books that stand on them. */
export const library = deviceType({ id: 21, name: 'library', features: {}, queues: { requestq: 0 } });

const room = { shelves: le32, books: le32, kinds: le64, sizes: u8, reserved: u8, colour: le16 } as const;

/** How much there is room for, which kinds of books, which size: not larger, but even. */
export const roomCapability: CapabilityType<typeof room> = {
  id: 0x800,
  layout: struct('room_cap', room),
  rules: {
    shelves: 'limit',
    books: 'limit',
    kinds: 'flags',
    sizes: (wanted, offered) => wanted <= offered && wanted % 2 === 0,
    reserved: 'limit',
    colour: 'flags',
  },
};

export const offeredRoom = { shelves: 4, books: 3, kinds: (1n << 40n) | 5n, sizes: 8, colour: 0x101 };

const { shelves: mostShelves, books: mostBooks } = roomCapability.layout.field;

export const shelfKind: ResourceObjectKind<{ readonly width: typeof le32; readonly depth: typeof le32 }> = {
  type: 0x200,
  name: 'shelf',
  layout: struct('shelf', { width: le32, depth: le32 }),
  capability: roomCapability.id,
  limit: (capability) => mostShelves.get(capability),
};

export const bookKind: ResourceObjectKind<{ readonly shelf: typeof le32; readonly pages: typeof le32 }> = {
  type: 0x201,
  name: 'book',
  layout: struct('book', { shelf: le32, pages: le32 }),
  capability: roomCapability.id,
  limit: (capability) => mostBooks.get(capability),
  dependsOn: ({ shelf }) => [{ type: 0x200, id: shelf }],
};

/** What a command came to. */
export interface Answer {
  readonly status: number;
  readonly qualifier: number;
  readonly result: Uint8Array;
  /** The used length. */
  readonly used: number;
}

/** The status and qualifier of an answer, as the specification names them. */
export const failure = (
  status: keyof typeof adminStatus,
  qualifier: keyof typeof adminQualifier,
): Pick<Answer, 'status' | 'qualifier'> => ({
  status: adminStatus[status],
  qualifier: adminQualifier[qualifier],
});

export const ok: Pick<Answer, 'status' | 'qualifier'> = failure('OK', 'OK');

/** A raw command: nothing is checked before it goes to the device. */
export interface RawCommand {
  readonly opcode: AdminCommandName | number;
  readonly group?: number;
  readonly member?: bigint;
  readonly data?: Uint8Array;
  /** Device-writable bytes, all in all; 256 unless told. */
  readonly writable?: number;
}

/** An owner with a driver that sends what it is told, right or wrong. */
export class Owner {
  readonly opened: OpenDevice<typeof library>;
  readonly bus: ConnectedPci;
  readonly errors: VirtioError[];
  /** The objects that the device was told of, as `+shelf1`, `~shelf1`, `-shelf1`. */
  readonly log: string[];

  private constructor(
    opened: OpenDevice<typeof library>,
    bus: ConnectedPci,
    errors: VirtioError[],
    log: string[],
  ) {
    this.opened = opened;
    this.bus = bus;
    this.errors = errors;
    this.log = log;
  }

  static async start(
    options: AdministerOptions & { packed?: boolean; adminQueues?: number } = {},
  ): Promise<Owner> {
    const errors: VirtioError[] = [];
    const log: string[] = [];
    const bus = await connectPci(libraryDevice(options, log), {
      onError: (error) => void errors.push(error),
    });
    const opened = await open(bus.transport, library, {
      features: [],
      reserved: reservedFor(options.packed === true),
      adminQueues: options.adminQueues ?? 1,
    });
    return new Owner(opened, bus, errors, log);
  }

  async send(command: RawCommand, queue = 0): Promise<Answer> {
    const { opcode, group = 0, member = 0n, data = new Uint8Array(), writable = 256 } = command;
    const header = virtio_admin_cmd.encode({
      opcode: typeof opcode === 'number' ? opcode : adminOpcode[opcode],
      group_type: group,
      group_member_id: member,
    });
    return this.sendBytes(joined(header, data), writable, queue);
  }

  async sendBytes(readable: Uint8Array, writable: number, queue = 0): Promise<Answer> {
    const used = await this.opened.adminQueues[queue]!.request(readable, writable);
    const view = new DataView(
      Uint8Array.from({ length: Math.max(8, used.length) }, (_, i) => used[i] ?? 0).buffer,
    );
    return {
      status: view.getUint16(0, true),
      qualifier: view.getUint16(2, true),
      result: used.slice(8),
      used: used.length,
    };
  }

  /** Uses every command that the group has. */
  async useAll(group = 0): Promise<void> {
    const { result } = await this.send({ opcode: 'LIST_QUERY', group });
    await this.send({ opcode: 'LIST_USE', group, data: result });
  }
}

/** The features that an owner's driver accepts, on either ring. */
export const reservedFor = (packed: boolean): ReservedFeatureName[] => [
  'ADMIN_VQ',
  'INDIRECT_DESC',
  'RING_RESET',
  ...(packed ? (['RING_PACKED'] as const) : []),
];

function libraryDevice(options: AdministerOptions, log: string[]) {
  const note =
    (sign: string) =>
    ({ type, id }: ResourceObject) => {
      log.push(`${sign}${type === shelfKind.type ? 'shelf' : 'book'}${id}`);
    };
  const hooks = {
    apply: (object: ResourceObject, before: ResourceObject | undefined) =>
      note(before === undefined ? '+' : '~')(object),
    destroyed: note('-'),
  };
  const objects: ResourceObjectType[] = [
    { ...shelfKind, ...hooks },
    { ...bookKind, ...hooks, mostTail: 16 },
  ];
  return administer(
    device(library, {
      resources: { capabilities: [capability(roomCapability, offeredRoom)], objects },
      serve: { requestq() {} },
    }),
    options,
  );
}
