import type { Device } from 'virtio/device';
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
import type { PciInterface } from './interfaces.ts';
import type { DeviceServer, LendOptions } from './lending.ts';

const legacy: Readonly<Record<PciInterface, (() => PciLegacySupport) | undefined>> = {
  modern: undefined,
  transitional,
  legacy: legacyOnly,
};

/** Lends a device as a PCI function, over vfio-user. */
export function pciServer(device: Device, drivers: PciInterface, options: LendOptions): DeviceServer {
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
