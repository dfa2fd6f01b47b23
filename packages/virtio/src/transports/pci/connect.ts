import type { Device } from '../../device/device.ts';
import type { Tracer } from '../../device/trace.ts';
import { InterruptWire } from '../../driver/interrupt-wire.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { memoryForBoth } from '../../memory/memory-for-both.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import type { PciAccess, PciMessage } from './access.ts';
import type { BarRoom } from './bar-probe.ts';
import { PciFunction } from './device.ts';
import { PciTransport } from './driver.ts';
import type { PciTransportOptions } from './function-driver.ts';
import { msix } from './msix-table.ts';
import type { PciFunctionOptions } from './options.ts';
import { pciTracing } from './tracing.ts';

/** How a device and its driver are joined by a PCI bus of their own. */
export interface ConnectPciOptions extends PciTransportOptions {
  /** Memory that both share; 4 MiB of its own unless told. */
  readonly memory?: GuestMemory;
  /** The driver's part of that memory; all of the first region, but for its first page, unless told. */
  readonly allocator?: Allocator;
  readonly trace?: Tracer | undefined;
  readonly onError?: PciFunctionOptions['onError'] | undefined;
  /** How the function is to be. */
  readonly pciFunction?: Omit<PciFunctionOptions, 'memory' | 'trace' | 'onError'>;
}

/** How the driver opens the function: `PciTransport.open` unless told; `LegacyPciTransport.open`, `openPci`. */
export type PciOpener<T> = (access: PciAccess, options: PciTransportOptions) => Promise<T>;

/** Both ends. */
export interface ConnectedPci<T = PciTransport> {
  readonly transport: T;
  readonly pciFunction: PciFunction;
  readonly access: PciAccess;
}

/** @internal Where BARs go: anywhere, since this bus has one function. */
export const room = {
  memory: { start: 0xe000_0000, length: 0x1000_0000 },
  io: { start: 0xc000, length: 0x1000 },
} as const satisfies BarRoom;

/** Where x86 has its interrupt messages. */
const messageAddress = 0xfee0_0000;

/**
 * A device and its driver in one process, a PCI bus between them: the driver finds the capabilities, places
 * the BARs, sets MSI-X up. Interrupts arrive after the caller's turn.
 *
 * @example
 * const { transport } = await connectPci(blkDevice({ storage }));
 * const disk = await openBlk(transport);
 */
export function connectPci<T>(
  device: Device,
  options: ConnectPciOptions & { readonly open: PciOpener<T> },
): Promise<ConnectedPci<T>>;
export function connectPci(device: Device, options?: ConnectPciOptions): Promise<ConnectedPci>;
export async function connectPci(
  device: Device,
  options: ConnectPciOptions & { readonly open?: PciOpener<unknown> } = {},
): Promise<ConnectedPci<unknown>> {
  const { pciFunction, access } = joinPci(device, options);
  const { open = PciTransport.open } = options;
  const transport = await open(access, { room, ...options });
  return { transport, pciFunction, access };
}

/** @internal The function and the way to it; the driver is not there yet. */
export function joinPci(device: Device, options: ConnectPciOptions = {}): Omit<ConnectedPci, 'transport'> {
  const { memory, allocator } = memoryForBoth(options);
  const interrupts = new InterruptWires();
  const pciFunction = new PciFunction(device, {
    setInterruptLine: (level) => interrupts.line.set(level),
    packedRing,
    inOrder,
    msix: msix((address, data) => interrupts.deliver(address, data)),
    ...options.pciFunction,
    memory,
    ...(options.trace === undefined ? {} : { trace: pciTracing(options.trace) }),
    ...(options.onError === undefined ? {} : { onError: options.onError }),
  });
  return {
    pciFunction,
    access: accessTo(pciFunction, memory, allocator, interrupts),
  };
}

function accessTo(
  pciFunction: PciFunction,
  memory: GuestMemory,
  allocator: Allocator,
  interrupts: InterruptWires,
): PciAccess {
  return {
    memory,
    allocator,
    configRead: async (offset, width) => pciFunction.configRead(offset, width),
    configWrite: async (offset, width, value) => pciFunction.configWrite(offset, width, value),
    barRead: async (bar, offset, width) => pciFunction.barRead(bar, offset, width),
    barWrite: async (bar, offset, width, value) => pciFunction.barWrite(bar, offset, width, value),
    barWriteNow: (bar, offset, width, value) => pciFunction.barWrite(bar, offset, width, value),
    listenLine: (handler) => interrupts.line.listen(handler),
    allocateMessage: async (handler) => interrupts.allocate(handler),
  };
}

/** The interrupt line and the messages of one function. */
class InterruptWires {
  readonly line: InterruptWire = new InterruptWire();
  readonly #messages = new Map<number, InterruptWire>();
  #nextData = 1;

  allocate(handler: () => void): PciMessage {
    const data = this.#nextData++;
    const wire = new InterruptWire();
    wire.listen(handler);
    this.#messages.set(data, wire);
    return { address: messageAddress, data, free: () => void this.#messages.delete(data) };
  }

  deliver(address: number, data: number): void {
    if (address === messageAddress) this.#messages.get(data)?.fire();
  }
}
