import type { Device } from '../../device/device.ts';
import { Allocator } from '../../memory/allocator.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import type { PciAccess, PciMessage } from './access.ts';
import type { BarRoom } from './bar-probe.ts';
import { PciFunction } from './device.ts';
import { PciTransport, type PciTransportOptions } from './driver.ts';
import { msix } from './msix-table.ts';
import type { PciFunctionOptions } from './options.ts';

/** How a device and its driver are joined by a PCI bus of their own. */
export interface ConnectPciOptions extends PciTransportOptions {
  /** Memory that both share; 16 MiB of its own unless told. */
  readonly memory?: GuestMemory;
  /** The driver's part of that memory; all of the first region, but for its first page, unless told. */
  readonly allocator?: Allocator;
  readonly trace?: PciFunctionOptions['trace'] | undefined;
  readonly onError?: PciFunctionOptions['onError'] | undefined;
  /** How the function is to be. */
  readonly pciFunction?: Omit<PciFunctionOptions, 'memory' | 'trace' | 'onError'>;
}

/** Both ends. */
export interface ConnectedPci {
  readonly transport: PciTransport;
  readonly pciFunction: PciFunction;
  readonly access: PciAccess;
}

const defaultMemoryLength = 16 * 2 ** 20;
const guardLength = 4096;

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
export async function connectPci(device: Device, options: ConnectPciOptions = {}): Promise<ConnectedPci> {
  const { pciFunction, access } = joinPci(device, options);
  const transport = await PciTransport.open(access, { room, ...options });
  return { transport, pciFunction, access };
}

/** @internal The function and the way to it; the driver is not there yet. */
export function joinPci(device: Device, options: ConnectPciOptions = {}): Omit<ConnectedPci, 'transport'> {
  const memory = options.memory ?? GuestMemory.ofSize(defaultMemoryLength);
  const interrupts = new InterruptWires();
  const pciFunction = new PciFunction(device, {
    setInterruptLine: (level) => interrupts.setLine(level),
    msix: msix((address, data) => interrupts.deliver(address, data)),
    ...options.pciFunction,
    memory,
    ...(options.trace === undefined ? {} : { trace: options.trace }),
    ...(options.onError === undefined ? {} : { onError: options.onError }),
  });
  return {
    pciFunction,
    access: accessTo(pciFunction, memory, options.allocator ?? wholeOf(memory), interrupts),
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
    listenLine: (handler) => interrupts.listenLine(handler),
    allocateMessage: async (handler) => interrupts.allocate(handler),
  };
}

/** The interrupt line and the messages of one function. */
class InterruptWires {
  readonly #handlers = new Map<number, () => void>();
  readonly #due = new Set<() => void>();
  #lineHandler: (() => void) | undefined;
  #level = false;
  #nextData = 1;

  setLine(level: boolean): void {
    this.#level = level;
    if (level) this.#call(this.#lineHandler);
  }

  listenLine(handler: (() => void) | undefined): void {
    this.#lineHandler = handler;
    if (this.#level) this.#call(handler);
  }

  allocate(handler: () => void): PciMessage {
    const data = this.#nextData++;
    this.#handlers.set(data, handler);
    return { address: messageAddress, data, free: () => void this.#handlers.delete(data) };
  }

  deliver(address: number, data: number): void {
    if (address === messageAddress) this.#call(this.#handlers.get(data));
  }

  /** After the caller's turn, and once however often it was asked for meanwhile: as processors do it. */
  #call(handler: (() => void) | undefined): void {
    if (handler === undefined || this.#due.has(handler)) return;
    this.#due.add(handler);
    void Promise.resolve().then(() => {
      this.#due.delete(handler);
      handler();
    });
  }
}

function wholeOf(memory: GuestMemory): Allocator {
  const first = memory.regions[0];
  const length = Math.max(0, (first?.length ?? 0) - guardLength);
  return new Allocator((first?.start ?? 0) + guardLength, length);
}
