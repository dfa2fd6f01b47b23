import type { Channel } from 'virtio/channel';
import { type Device, type QueuePolling, type Tracer, tracing } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import {
  legacyOnly,
  msixSignals,
  type PciLegacySupport,
  pciMigration,
  pciTracing,
  transitional,
  VmmPciFunction,
} from 'virtio/transports/pci';
import { VfioUserServer } from 'virtio/vfio-user';
import { VhostUserServer } from 'virtio/vhost-user';
import { inOrder, packedRing } from 'virtio/virtqueue';
import type { NodeDescriptors } from 'virtio-node/host';
import type { PciInterface } from './interfaces.ts';

const legacy: Readonly<Record<PciInterface, (() => PciLegacySupport) | undefined>> = {
  modern: undefined,
  transitional,
  legacy: legacyOnly,
};

/** How a device is lent, and who hears of it. */
export interface LendOptions {
  readonly host: NodeDescriptors;
  /** As a PCI function for these drivers, over vfio-user; its queues alone, over vhost-user, unless told. */
  readonly pci?: PciInterface | undefined;
  /** Packed rings are offered unless told otherwise. */
  readonly packed?: boolean;
  /** What is in flight is kept over our death where the protocol has it, unless told otherwise. */
  readonly inflight?: boolean;
  readonly polling?: QueuePolling | undefined;
  readonly trace?: Tracer | undefined;
  onError(error: VirtioError, needsReset: boolean): void;
  onConnected?(): void;
  onDisconnected?(error: VirtioError | undefined): void;
}

/** Lends a device to those at the other ends of channels, one after the other. */
export interface DeviceServer {
  serve(channel: Channel): void;
  /** Ends the connections, and takes no more. */
  close(): void;
}

/** Milliseconds between two looks at a queue whose driver does not kick. */
const pollInterval = 1;

/** The one place where a device of ours is made something for other processes. */
export function deviceServer(device: Device, options: LendOptions): DeviceServer {
  return options.pci === undefined
    ? vhostUserServer(device, options)
    : pciServer(device, options.pci, options);
}

function vhostUserServer(device: Device, options: LendOptions): DeviceServer {
  const { host, packed = true, inflight = true, polling, trace, ...events } = options;
  return new VhostUserServer(device, host, {
    packedRing: packed ? packedRing : undefined,
    without: inflight ? [] : ['INFLIGHT_SHMFD'],
    poll,
    polling,
    trace: trace && tracing(trace),
    ...events,
  });
}

function pciServer(device: Device, drivers: PciInterface, options: LendOptions): DeviceServer {
  const { host, packed = true, polling, trace, onError, onConnected, onDisconnected } = options;
  const oldInterface = legacy[drivers]?.();
  return new VfioUserServer<VmmPciFunction>(
    {
      descriptors: host,
      migration: pciMigration,
      onError: (error) => onError(error, true),
      ...(onConnected === undefined ? {} : { onConnected }),
      ...(onDisconnected === undefined ? {} : { onDisconnected }),
    },
    (lent) =>
      new VmmPciFunction(device, {
        ...lent,
        msix: msixSignals(lent.signalVector),
        inOrder,
        ...(polling === undefined ? {} : { polling }),
        ...(packed ? { packedRing } : {}),
        ...(oldInterface === undefined ? {} : { legacy: oldInterface }),
        ...(trace === undefined ? {} : { trace: pciTracing(trace) }),
        onError,
      }),
  );
}

function poll(look: () => void): () => void {
  const timer = setInterval(look, pollInterval);
  return () => clearInterval(timer);
}
