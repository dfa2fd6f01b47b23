import type { ActiveQueue } from '../../device/active-queue.ts';
import { administer } from '../../device/admin/administer.ts';
import { capability } from '../../device/admin/capabilities.ts';
import {
  bookKind,
  library,
  offeredRoom,
  reservedFor,
  roomCapability,
  shelfKind,
} from '../../device/admin/owner.fixture.ts';
import type { Administration } from '../../device/administration.ts';
import { type Device, device, type ServeHandler } from '../../device/device.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { type AdminCommandName, adminOpcode } from '../../spec/admin.ts';
import { connectPci } from '../../transports/pci/connect.ts';
import { PciFunction } from '../../transports/pci/device.ts';
import { SriovGroup } from '../../transports/pci/parts/sriov-group.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { open } from '../open.ts';
import type { OpenAdmin } from './open-admin.ts';
import { openAdmin } from './open-admin.ts';

/** A command as the device got it. */
export interface Seen {
  readonly name: AdminCommandName | undefined;
  readonly group: number;
  readonly readable: Uint8Array;
  /** Bytes. */
  readonly writable: number;
}

/** A command handler that may answer itself, or leave it to the device. */
export type Interference = (
  seen: Seen,
  ...command: Parameters<ServeHandler>
) => undefined | Promise<void> | 'serve';

/** An administration of which a device under test knows nothing: it sees every command first. */
export interface Recorded {
  readonly admin: OpenAdmin;
  readonly seen: Seen[];
  readonly names: () => (AdminCommandName | undefined)[];
  readonly device: Device<typeof library>;
}

/** The driver's administration of a library with one virtual function; every command is seen. */
export async function recorded(interfere: Interference = () => 'serve'): Promise<Recorded> {
  const vf = new PciFunction(device(library, { serve: { requestq() {} } }), {
    memory: GuestMemory.ofSize(4096),
  });
  const group = new SriovGroup([vf]);
  const owner = device(library, {
    resources: {
      capabilities: [capability(roomCapability, offeredRoom)],
      objects: [shelfKind, { ...bookKind, mostTail: 16 }],
    },
  });
  administer(owner, { groups: [group] });
  group.enableVfs();
  const seen: Seen[] = [];
  const { administration } = owner;
  if (administration !== undefined) owner.administration = watched(administration, seen, interfere);
  const { transport } = await connectPci(owner);
  const opened = await open(transport, library, { features: [], reserved: reservedFor(false) });
  const admin = await openAdmin(opened);
  return { admin, seen, names: () => seen.map(({ name }) => name), device: owner };
}

function watched(administration: Administration, seen: Seen[], interfere: Interference): Administration {
  const serve = (served: ServeHandler, chain: Chain, queue: ActiveQueue): ReturnType<ServeHandler> => {
    const readable = chain.readable.bytes(chain.readable.length);
    chain.readable.seek(0);
    const opcode = (readable[0] ?? 0) + 256 * (readable[1] ?? 0);
    // The keys of the table are the names of commands.
    const names = Object.keys(adminOpcode) as AdminCommandName[];
    const name = names.find((one) => adminOpcode[one] === opcode);
    const command = { name, group: readable[2] ?? 0, readable, writable: chain.writable.length };
    seen.push(command);
    const interfered = interfere(command, chain, queue);
    return interfered === 'serve' ? served(chain, queue) : interfered;
  };
  return {
    queues: administration.queues,
    reset: () => administration.reset(),
    save: () => administration.save(),
    restore: (state) => administration.restore(state),
    place(number) {
      const place = administration.place(number);
      const served = place?.serve;
      return place && served && { ...place, serve: (chain, queue) => serve(served, chain, queue) };
    },
  };
}
