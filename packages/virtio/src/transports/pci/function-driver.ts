import type { Deviation, NotificationListener } from '../../driver/transport.ts';
import { HostError, UsageError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { PciAccess } from './access.ts';
import { assignBars, type BarRoom, type FoundBar, probeBars } from './bar-probe.ts';
import { invalid } from './capabilities.ts';
import type { DriverInterrupts, InterruptChoice } from './driver-interrupts.ts';
import { transitionalIdBase } from './legacy-registers.ts';
import { commandBit, pci_header } from './pci-registers.ts';
import type { Registers } from './register-access.ts';
import { deviceIdBase, virtioVendorId } from './registers.ts';

/** How a driver wants its PCI function. */
export interface PciTransportOptions {
  /** Where to put BARs that nobody has placed; unless told, they stay where they are. */
  readonly room?: BarRoom;
  /** Reach everything through the PCI_CFG capability, and no BAR: false unless told. MSI-X is not used then. */
  readonly window?: boolean;
  /** The most MSI-X vectors to use; 0 is INTx. As many as the function has, unless told. */
  readonly vectors?: number;
  /** Known of the device; none unless told. */
  readonly deviations?: readonly Deviation[];
}

/** The largest Queue Size that there is (2.7, 2.8). */
const largestQueue = 32768;

/**
 * The virtio device id of a function by its ids, whatever its revision; `undefined` when it is no virtio
 * device.
 *
 * @spec 4.1.2.2 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery
 */
export function virtioDeviceId(ids: {
  readonly vendor: number;
  readonly device: number;
  /** The PCI Subsystem Device ID. */
  readonly subsystem: number;
}): number | undefined {
  if (ids.vendor !== virtioVendorId) return undefined;
  if (ids.device >= deviceIdBase && ids.device < deviceIdBase + 0x40) return ids.device - deviceIdBase;
  return ids.device >= transitionalIdBase && ids.device < deviceIdBase ? ids.subsystem : undefined;
}

/** Registers that the modern and the legacy interface have both. */
type SharedRegister = 'device_status' | 'queue_select' | 'queue_size';

/** What drivers of the modern and of the legacy interface have in common. */
export abstract class FunctionDriver {
  readonly deviceId: number;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly deviations: readonly Deviation[] | undefined;

  protected readonly access: PciAccess;
  protected readonly wiring: DriverInterrupts;
  /** `queue_size` shows the largest size until another is written there. */
  protected readonly maxSizes: Map<number, number> = new Map();
  readonly #registers: Registers<SharedRegister>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: {
    readonly access: PciAccess;
    readonly deviceId: number;
    readonly registers: Registers<SharedRegister>;
    readonly interrupts: DriverInterrupts;
    readonly deviations?: readonly Deviation[] | undefined;
  }) {
    this.access = parts.access;
    this.memory = parts.access.memory;
    this.allocator = parts.access.allocator;
    this.deviceId = parts.deviceId;
    this.wiring = parts.interrupts;
    this.deviations = parts.deviations;
    this.#registers = parts.registers;
    parts.access.listenGone?.((error) => this.lost(error));
  }

  /** The interrupts in use now: a device may refuse vectors until INTx is left. */
  get interrupts(): { readonly choice: InterruptChoice; readonly vectors: number } {
    return { choice: this.wiring.choice, vectors: this.wiring.vectorsInUse };
  }

  /** @throws {HostError} DEVICE_GONE when the function does not answer any more. */
  async readStatus(): Promise<number> {
    const value = await this.#registers.read('device_status');
    if (value === 0xff && (await this.access.configRead(pci_header.field.vendor_id.offset, 2)) === 0xffff) {
      throw new HostError('DEVICE_GONE', 'the PCI function does not answer');
    }
    return value;
  }

  abstract writeStatus(value: number): Promise<void>;

  /** @throws {PeerError} LAYOUT_INVALID for a size above 32768. */
  queueMaxSize(index: number): Promise<number> {
    return this.inTurn(async () => {
      await this.#registers.write('queue_select', index);
      return await this.readMaxSize(index);
    });
  }

  listen(listener: NotificationListener | undefined): void {
    this.wiring.listener = listener;
  }

  /** Resets the device and takes from the function what `open` gave it: interrupts and the use of memory. */
  async close(): Promise<void> {
    await this.writeStatus(0);
    await this.inTurn(() => this.wiring.stop());
    const { offset } = pci_header.field.command;
    const command = await this.access.configRead(offset, 2);
    await this.access.configWrite(offset, 2, command & ~commandBit.BUS_MASTER);
  }

  /** @internal An access that nobody waits for has failed. */
  lost(error: unknown): void {
    const reason = error instanceof Error ? error : new HostError('DEVICE_GONE', String(error));
    this.wiring.listener?.gone?.(reason);
  }

  /** The largest size of the queue that is selected. */
  protected async readMaxSize(index: number): Promise<number> {
    const known = this.maxSizes.get(index);
    if (known !== undefined) return known;
    const size = await this.#registers.read('queue_size');
    if (size > largestQueue) throw invalid(`its queue ${index} has ${size} descriptors`);
    this.maxSizes.set(index, size);
    return size;
  }

  /** What selects a queue or a word goes on to use it, so such tasks take turns. */
  protected inTurn<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** A virtio function as a driver finds it. */
export interface FoundFunction {
  readonly deviceId: number;
  /** In their places. */
  readonly bars: readonly FoundBar[];
}

/**
 * Finds the device type and the BARs, and places those.
 *
 * @throws {UsageError} BAD_ARGUMENT when the function is no virtio device.
 */
export async function findFunction(
  access: PciAccess,
  { room }: { readonly room?: BarRoom | undefined },
): Promise<FoundFunction> {
  const deviceId = await readDeviceId(access);
  const found = await probeBars(access);
  return { deviceId, bars: room === undefined ? found : await assignBars(access, found, room) };
}

async function readDeviceId(access: PciAccess): Promise<number> {
  const { vendor_id, device_id, subsystem_id } = pci_header.field;
  const vendor = await access.configRead(vendor_id.offset, 2);
  const device = await access.configRead(device_id.offset, 2);
  const deviceId = virtioDeviceId({
    vendor,
    device,
    subsystem: await access.configRead(subsystem_id.offset, 2),
  });
  if (deviceId !== undefined) return deviceId;
  throw new UsageError(
    'BAD_ARGUMENT',
    `PCI function ${vendor.toString(16)}:${device.toString(16)} is no virtio device`,
  );
}

/** Lets the function answer where its BARs are, and use memory. */
export async function enableFunction(access: PciAccess, bars: readonly FoundBar[]): Promise<void> {
  const { offset } = pci_header.field.command;
  const placed = bars.filter(({ address }) => address !== 0);
  const spaces = placed.map(({ kind }) => (kind === 'io' ? commandBit.IO_SPACE : commandBit.MEMORY_SPACE));
  const bits = spaces.reduce<number>((all, bit) => all | bit, commandBit.BUS_MASTER);
  await access.configWrite(offset, 2, (await access.configRead(offset, 2)) | bits);
}
