import { type VsockDevice, type VsockOptions, vsockDevice } from 'virtio/devices/vsock';
import { openUnixPorts, type UnixPortsOptions } from 'virtio-node/vsock';
import { refused } from '../exit-status.ts';

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
  return path === undefined ? undefined : openSocketsAt(path, '--vsock', { guestCid });
}

/**
 * Opens a place of a guest's sockets.
 *
 * @param option that the path was given by
 * @throws {CommandError} for a path at which nobody can listen.
 */
export async function openSocketsAt(
  path: string,
  option: string,
  options: VsockOptions,
  mapping: UnixPortsOptions = {},
): Promise<OpenSockets> {
  const device = vsockDevice(options);
  try {
    const ports = await openUnixPorts(device, path, mapping);
    return { path, device, close: () => ports.close() };
  } catch (error) {
    throw refused(error, option);
  }
}
