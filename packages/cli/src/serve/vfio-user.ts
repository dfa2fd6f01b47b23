import type { Device, QueuePolling, Tracer } from 'virtio/device';
import { HostError, type VirtioError } from 'virtio/errors';
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
import { inOrder, packedRing } from 'virtio/virtqueue';
import type { NodeDescriptors } from 'virtio-node/host';
import type { ServePlan } from './plan.ts';

/** The drivers that a PCI function is for. */
export type ServedInterface = NonNullable<ServePlan['vfioUser']>;

const legacy: Readonly<Record<ServedInterface, (() => PciLegacySupport) | undefined>> = {
  modern: undefined,
  transitional,
  legacy: legacyOnly,
};

/** What a server is given, and whom it tells. */
export interface ServedOver {
  readonly host: NodeDescriptors;
  readonly polling: QueuePolling;
  readonly trace: Tracer | undefined;
  onConnected(): void;
  onDisconnected(error: VirtioError | undefined): void;
  /** What a driver does and a device lives with is not among it. */
  onError(error: VirtioError): void;
}

/** A device as a whole PCI function, for one machine after the other. */
export function servePci(
  device: Device,
  drivers: ServedInterface,
  { packed }: Pick<ServePlan, 'packed'>,
  { host, polling, trace, onConnected, onDisconnected, onError }: ServedOver,
): VfioUserServer<VmmPciFunction> {
  const options = { descriptors: host, migration: pciMigration, onConnected, onDisconnected };
  const oldInterface = legacy[drivers]?.();
  return new VfioUserServer({ ...options, onError }, (lent) => {
    return new VmmPciFunction(device, {
      ...lent,
      msix: msixSignals(lent.signalVector),
      inOrder,
      polling,
      ...(packed ? { packedRing } : {}),
      ...(oldInterface === undefined ? {} : { legacy: oldInterface }),
      ...(trace === undefined ? {} : { trace: pciTracing(trace) }),
      onError: (error, needsReset) => {
        if (needsReset || error instanceof HostError) onError(error);
      },
    });
  });
}
