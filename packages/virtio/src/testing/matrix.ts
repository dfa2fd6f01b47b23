import type { Device } from '../device/device.ts';
import type { DeviceHost } from '../device/host.ts';
import type { Tracer } from '../device/trace.ts';
import type { Transport } from '../driver/transport.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ReservedFeatureName } from '../spec/features.ts';
import type { FixtureOptions } from './fixtures/fixture.ts';

/** What a bus is lent. */
export interface BusOptions extends Pick<DeviceHost, 'onError'> {
  readonly trace?: Tracer | undefined;
  /** Memory that both sides share, and the driver's part of it; the bus makes its own unless told. */
  readonly memory?: GuestMemory;
  readonly allocator?: Allocator;
}

/** A bus of the matrix: how a device and a driver's transport are joined by it in one process. */
export interface Bus {
  readonly name: string;
  /** True where devices are reached through the legacy interface. */
  readonly legacy?: boolean;
  /** True where devices have the legacy interface beside the modern one, which is used. */
  readonly transitional?: boolean;
  /**
   * The device works beside the driver, and not within its kicks: it may use buffers between two steps of the driver,
   * and in a packed ring write over what a watcher has not seen. Drivers are watched on other buses there.
   */
  readonly concurrent?: boolean;
  /** True where VIRTIO_F_IN_ORDER is not to be had. */
  readonly unordered?: boolean;
  /**
   * True where a device answers a set-up that cannot be, of features, queues or memory, by going away: the bus has rules of
   * its own for it, and a status for its driver alone. Such attacks are made on the bus itself there.
   */
  readonly leaves?: boolean;
  /** May cross a socket or a bus that must be searched first. */
  connect(device: Device, options: BusOptions): Promise<Connected>;
}

/** A device behind a bus. */
export interface Connected {
  readonly transport: Transport;
}

/** One cell of the matrix: a bus, a ring, and what is negotiated of the ring. */
export interface Configuration {
  /** The bus's name. */
  readonly bus: string;
  /** Through the legacy interface, which knows split rings alone and no order. */
  readonly legacy?: boolean;
  readonly packed: boolean;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  readonly inOrder: boolean;
}

/** Every bus with every ring and every choice of ring features that it has. */
export function configurationsOf(
  buses: readonly Pick<Bus, 'name' | 'legacy' | 'unordered'>[],
): Configuration[] {
  const choices = [false, true];
  return buses.flatMap(({ name: bus, legacy = false, unordered = false }) => {
    const modern = legacy ? [false] : choices;
    const orders = unordered ? [false] : modern;
    return modern.flatMap((packed) =>
      choices.flatMap((eventIdx) =>
        choices.flatMap((indirect) =>
          orders.map((inOrder) => ({ bus, legacy, packed, eventIdx, indirect, inOrder })),
        ),
      ),
    );
  });
}

/** The rings that a bus has, packed or not. */
export const ringsOf = ({ legacy = false }: Pick<Bus, 'legacy'>): readonly boolean[] =>
  legacy ? [false] : [false, true];

/** A rule for what only the modern interface has; `why` is the reason to skip it elsewhere. */
export const modernOnly =
  (why: string) =>
  ({ legacy = false }: Configuration): string | undefined =>
    legacy ? why : undefined;

/** As a test is titled: `pci, packed, event index, in order`. */
export function configurationName(configuration: Configuration): string {
  const { bus, packed, eventIdx, indirect, inOrder } = configuration;
  const features = [eventIdx && 'event index', indirect && 'indirect', inOrder && 'in order'].filter(Boolean);
  return [bus, packed ? 'packed' : 'split', ...features].join(', ');
}

/** The reserved features of a configuration. */
export function reservedOf(configuration: Configuration): ReservedFeatureName[] {
  const { legacy = false, packed, eventIdx, indirect, inOrder } = configuration;
  return [
    'VERSION_1',
    ...(legacy ? [] : (['NOTIFICATION_DATA', 'RING_RESET', 'SUSPEND'] as const)),
    ...(packed ? (['RING_PACKED'] as const) : []),
    ...(eventIdx ? (['EVENT_IDX'] as const) : []),
    ...(indirect ? (['INDIRECT_DESC'] as const) : []),
    ...(inOrder ? (['IN_ORDER'] as const) : []),
  ];
}

/** How a fixture opens its device in a configuration: indirect tables are used for certain, or not at all. */
export function fixtureOptionsOf(configuration: Configuration): FixtureOptions {
  return {
    reserved: reservedOf(configuration),
    indirectPolicy: configuration.indirect ? 'always' : 'never',
  };
}
