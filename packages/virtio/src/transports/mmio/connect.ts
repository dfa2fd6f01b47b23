import type { Device } from '../../device/device.ts';
import type { Tracer } from '../../device/trace.ts';
import { tracing } from '../../device/tracing.ts';
import { InterruptWire } from '../../driver/interrupt-wire.ts';
import type { Allocator } from '../../memory/allocator.ts';
import { memoryForBoth } from '../../memory/memory-for-both.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import type { MmioAccess } from './access.ts';
import { MmioDevice } from './device.ts';
import { MmioTransport } from './driver.ts';
import type { MmioDeviceOptions, MmioHost } from './options.ts';

/** How a device and its driver are joined. */
export interface ConnectMmioOptions extends Omit<Partial<MmioDeviceOptions>, 'trace'> {
  readonly trace?: Tracer | undefined;
  /** The driver's part of the memory; all of the first region, but for its first page, unless told. */
  readonly allocator?: Allocator;
}

/** Both ends. */
export interface ConnectedMmio {
  readonly transport: MmioTransport;
  readonly window: MmioDevice;
  readonly access: MmioAccess;
}

/**
 * A device and its driver in one process, registers of version 2 between them. They share 4 MiB of memory of their
 * own unless told. Interrupts arrive after the caller's turn.
 *
 * @example
 * const { transport } = await connectMmio(blkDevice({ storage }));
 * const disk = await openBlk(transport);
 */
export async function connectMmio(device: Device, options: ConnectMmioOptions = {}): Promise<ConnectedMmio> {
  const { window, access } = joinMmio(device, options);
  return { transport: await MmioTransport.open(access), window, access };
}

/** @internal The window and the way to it; the driver is not there yet. */
export function joinMmio(device: Device, options: ConnectMmioOptions = {}): Omit<ConnectedMmio, 'transport'> {
  return joinWindow(options, (host) => new MmioDevice(device, { packedRing, inOrder, ...options, ...host }));
}

/** @internal Makes a window of either version, and the way to it. */
export function joinWindow<W extends Pick<MmioDevice, 'read' | 'write'>>(
  options: Pick<ConnectMmioOptions, 'memory' | 'allocator' | 'trace' | 'setInterruptLine'>,
  make: (host: Required<Pick<MmioHost, 'memory' | 'setInterruptLine' | 'trace'>>) => W,
): { readonly window: W; readonly access: MmioAccess } {
  const { memory, allocator } = memoryForBoth(options);
  const wire = new InterruptWire();
  const { setInterruptLine = (level) => wire.set(level), trace } = options;
  const window = make({ memory, setInterruptLine, trace: trace && tracing(trace) });
  const access: MmioAccess = {
    memory,
    allocator,
    read: async (offset, width) => window.read(offset, width),
    write: async (offset, width, value) => window.write(offset, width, value),
    writeNow: (offset, width, value) => window.write(offset, width, value),
    listenLine: (handler) => wire.listen(handler),
  };
  return { window, access };
}
