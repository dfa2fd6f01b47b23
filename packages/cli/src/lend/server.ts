import { type Device, tracing } from 'virtio/device';
import { VhostUserServer } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import type { DeviceServer, LendOptions } from './lending.ts';

/** Milliseconds between two looks at a queue whose driver does not kick. */
const pollInterval = 1;

/** The one place where a device of ours is made something for other processes. */
export async function deviceServer(device: Device, options: LendOptions): Promise<DeviceServer> {
  if (options.pci === undefined) return vhostUserServer(device, options);
  // A whole PCI function is a lot to load for those who lend queues.
  const { pciServer } = await import('./pci-server.ts');
  return pciServer(device, options.pci, options);
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

function poll(look: () => void): () => void {
  const timer = setInterval(look, pollInterval);
  return () => clearInterval(timer);
}
