import { administer } from '../../../device/admin/administer.ts';
import { reservedFor } from '../../../device/admin/owner.fixture.ts';
import { type Device, device } from '../../../device/device.ts';
import { entropy } from '../../../devices/entropy/spec.ts';
import type { OpenAdmin } from '../../../driver/admin/open-admin.ts';
import { openAdmin } from '../../../driver/admin/open-admin.ts';
import { open } from '../../../driver/open.ts';
import type { VirtioError } from '../../../errors.ts';
import { Allocator } from '../../../memory/allocator.ts';
import { GuestMemory } from '../../../memory/guest-memory.ts';
import { devPartsCapability } from '../../../spec/admin.ts';
import { packedRing } from '../../../virtqueue/packed/ring.ts';
import { inOrder } from '../../../virtqueue/taken-order.ts';
import type { PciAccess } from '../access.ts';
import { connectPci, room } from '../connect.ts';
import { PciFunction } from '../device.ts';
import { PciTransport } from '../driver.ts';
import { msix } from '../msix-table.ts';
import { restorePciFunction, savePciFunction } from '../saving.ts';
import { SriovGroup } from './sriov-group.ts';

const memoryLength = 2 ** 22;

/** A guest whose function can be exchanged for another, as when the guest moves to another host. */
export class MovableGuest {
  readonly memory: GuestMemory = GuestMemory.ofSize(memoryLength);
  readonly errors: VirtioError[] = [];
  /** How many interrupt messages there were. */
  messages = 0;
  readonly #handlers = new Map<number, () => void>();
  #present: PciFunction | undefined;

  /** A function that this guest can be given; it can reach the guest's memory from the start. */
  join(joined: Device): PciFunction {
    const made = new PciFunction(joined, {
      memory: this.memory,
      packedRing,
      inOrder,
      msix: msix((_, data) => {
        this.messages++;
        void Promise.resolve().then(this.#handlers.get(data));
      }),
      onError: (error) => void this.errors.push(error),
    });
    this.#present ??= made;
    return made;
  }

  /** The function that the guest's accesses reach. */
  get present(): PciFunction {
    if (this.#present === undefined) throw new Error('the guest has no function');
    return this.#present;
  }

  /** Gives the guest another function; what is PCI's own, its hypervisor saves and restores itself. */
  moveTo(next: PciFunction): void {
    const { config, msixTable, msixPending } = savePciFunction(this.present);
    restorePciFunction(next, { ...savePciFunction(next), config, msixTable, msixPending });
    this.#present = next;
  }

  /** The driver's way to whichever function is present. */
  openTransport(): Promise<PciTransport> {
    const access: PciAccess = {
      memory: this.memory,
      allocator: new Allocator(4096, memoryLength - 4096),
      configRead: async (offset, width) => this.present.configRead(offset, width),
      configWrite: async (offset, width, value) => this.present.configWrite(offset, width, value),
      barRead: async (bar, offset, width) => this.present.barRead(bar, offset, width),
      barWrite: async (bar, offset, width, value) => this.present.barWrite(bar, offset, width, value),
      barWriteNow: (bar, offset, width, value) => this.present.barWrite(bar, offset, width, value),
      allocateMessage: async (handler) => {
        const data = this.#handlers.size + 1;
        this.#handlers.set(data, handler);
        return { address: 0xfee0_0000, data, free: () => void this.#handlers.delete(data) };
      },
    };
    return PciTransport.open(access, { room });
  }
}

/** The administration of an owner whose virtual functions are the given ones. */
export async function ownerOf(functions: readonly PciFunction[], packed = false): Promise<OpenAdmin> {
  const group = new SriovGroup(functions);
  const owner = administer(device(entropy, {}), { groups: [group] });
  const { transport } = await connectPci(owner);
  group.enableVfs();
  const admin = await openAdmin(
    await open(transport, entropy, { features: [], reserved: reservedFor(packed) }),
  );
  await admin.capabilities.set(devPartsCapability, {
    get_parts_resource_objects_limit: 2,
    set_parts_resource_objects_limit: 2,
  });
  return admin;
}
