import type { Channel } from 'virtio/channel';
import type { QueuePolling, Tracer } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import type { NodeDescriptors } from 'virtio-node/host';
import type { PciInterface } from './interfaces.ts';

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
