import { type VsockDevice, vsockDevice } from 'virtio/devices/vsock';
import { HostError, UsageError } from 'virtio/errors';
import { openUnixPorts } from 'virtio-node/vsock';
import { usage } from '../exit-status.ts';

/** The guest's sockets, and where they are on this machine. */
export interface OpenSockets {
  readonly path: string;
  readonly device: VsockDevice;
  /** Takes no more connections, and ends those that there are. */
  close(): Promise<void>;
}

/** Of the guest: the first that none has by itself. */
const guestCid = 3;

/**
 * Opens the place of the guest's sockets; `undefined` when none was asked for.
 *
 * @throws {CommandError} for a path at which nobody can listen.
 */
export async function openSockets(path: string | undefined): Promise<OpenSockets | undefined> {
  if (path === undefined) return undefined;
  const device = vsockDevice({ guestCid });
  try {
    const ports = await openUnixPorts(device, path);
    return { path, device, close: () => ports.close() };
  } catch (error) {
    if (error instanceof HostError || error instanceof UsageError)
      throw usage(`--vsock ${error.message}`, error);
    throw error;
  }
}
