import type { Device } from '../../device/device.ts';
import type { Tracer } from '../../device/trace.ts';
import { tracing } from '../../device/tracing.ts';
import { UsageError } from '../../errors.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { memoryForBoth } from '../../memory/memory-for-both.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import type { ChannelIo, ChannelIoListener } from './channel-io.ts';
import { ChannelSubsystem } from './channel-subsystem.ts';
import type { ControlUnit, ControlUnitOptions } from './control-unit.ts';
import { CcwTransport, type CcwTransportOptions } from './driver.ts';
import { legacyCcwDevice, legacyCcwDriver } from './legacy.ts';

/** How a device and its driver are joined by a channel subsystem of their own. */
export interface ConnectCcwOptions
  extends Omit<CcwTransportOptions, 'legacy'>,
    Pick<ControlUnitOptions, 'onError'> {
  /** Memory that both share; 4 MiB of its own unless told. */
  readonly memory?: GuestMemory;
  /** The driver's part of that memory; all of the first region, but for its first page, unless told. */
  readonly allocator?: Allocator;
  readonly trace?: Tracer | undefined;
  /** How the device is to be. */
  readonly unit?: Omit<ControlUnitOptions, 'trace' | 'onError'>;
}

/** Both ends. */
export interface ConnectedCcw {
  readonly transport: CcwTransport;
  readonly subsystem: ChannelSubsystem;
  readonly unit: ControlUnit;
  readonly schid: number;
  readonly io: ChannelIo;
}

/**
 * A device and its driver in one process, a channel subsystem between them: the driver enables the subchannel, agrees
 * upon a revision, and does all by channel programs. With `revision: 0` both sides are legacy ones. Interruptions
 * arrive after the caller's turn.
 *
 * @example
 * const { transport } = await connectCcw(blkDevice({ storage }));
 * const disk = await openBlk(transport);
 */
export async function connectCcw(device: Device, options: ConnectCcwOptions = {}): Promise<ConnectedCcw> {
  const legacy = options.revision === 0;
  const unit = { ...(legacy ? ({ revision: 0, legacy: legacyCcwDevice() } as const) : {}), ...options.unit };
  const { subsystem, schid, io } = joinCcw(device, { ...options, unit });
  const transport = await CcwTransport.open(io, schid, {
    ...options,
    ...(legacy ? { legacy: legacyCcwDriver() } : {}),
  });
  return { transport, subsystem, unit: subsystem.unit(schid), schid, io };
}

/** @internal The device on its subchannel and the way to it; the driver is not there yet. */
export function joinCcw(
  device: Device,
  options: ConnectCcwOptions = {},
): Omit<ConnectedCcw, 'transport' | 'unit'> {
  const { memory, allocator } = memoryForBoth(options);
  const { subsystem, io } = channelSubsystemIo(memory, allocator);
  const { trace, onError } = options;
  const schid = subsystem.add(device, {
    packedRing,
    inOrder,
    ...options.unit,
    ...(trace === undefined ? {} : { trace: tracing(trace) }),
    ...(onError === undefined ? {} : { onError }),
  });
  return { subsystem, io, schid };
}

/** A channel subsystem, and the instructions of a program that has it for its own. */
export function channelSubsystemIo(
  memory: GuestMemory,
  allocator: Allocator,
): { readonly subsystem: ChannelSubsystem; readonly io: ChannelIo } {
  const listeners = new Set<ChannelIoListener>();
  // After the caller's turn, as processors do it.
  const tell = (how: (listener: ChannelIoListener) => void): void => {
    void Promise.resolve().then(() => {
      for (const listener of listeners) how(listener);
    });
  };
  const subsystem = new ChannelSubsystem({
    memory,
    interrupt: ({ schid, parameter }) => tell((listener) => listener.subchannel(schid, parameter)),
    adapterInterrupt: (isc) => tell((listener) => listener.adapter(isc)),
  });
  const io: ChannelIo = {
    memory,
    allocator,
    startSubchannel: async (schid, orb) => conditionCode(subsystem.startSubchannel(schid, orb)),
    testSubchannel: async (schid, irb) => conditionCode(subsystem.testSubchannel(schid, irb)),
    storeSubchannel: async (schid, schib) => conditionCode(subsystem.storeSubchannel(schid, schib)),
    modifySubchannel: async (schid, schib) => conditionCode(subsystem.modifySubchannel(schid, schib)),
    haltSubchannel: async (schid) => conditionCode(subsystem.haltSubchannel(schid)),
    clearSubchannel: async (schid) => conditionCode(subsystem.clearSubchannel(schid)),
    notify: async (schid, data, cookie) => subsystem.notifyQueue(schid, data, cookie),
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  return { subsystem, io };
}

/** A program interruption is a mistake of whoever issued the instruction. */
function conditionCode(end: number): number {
  if (end <= 3) return end;
  throw new UsageError(
    'BAD_ARGUMENT',
    `the instruction ends with program interruption 0x${end.toString(16)}`,
  );
}
