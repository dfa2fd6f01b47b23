import type { Channel } from '../channel/channel.ts';
import type { Device } from '../device/device.ts';
import type { VirtioError } from '../errors.ts';
import { type BackEndHost, VhostUserBackend, type VhostUserBackendOptions } from './backend.ts';

/** How a device is lent. */
export interface VhostUserServerOptions extends Omit<VhostUserBackendOptions, 'onClosed'> {
  /** A front end is there. */
  readonly onConnected?: (() => void) | undefined;
  /** The front end is gone: of its own accord, or for the reason given. */
  readonly onDisconnected?: ((error: VirtioError | undefined) => void) | undefined;
}

/** Connections that wait for the one that is served to end. */
const mostWaiting = 8;

/**
 * Lends a device to one front end after the other. What the device has of its own goes on from one to the next.
 *
 * @example
 * const server = new VhostUserServer(blkDevice({ storage }), descriptors, { packedRing });
 * listenUnix('/run/disk.sock', (channel) => server.serve(channel));
 */
export class VhostUserServer {
  readonly #device: Device;
  readonly #host: BackEndHost;
  readonly #options: VhostUserServerOptions;
  readonly #waiting: Channel[] = [];
  #backend: VhostUserBackend | undefined;
  #isClosed = false;

  constructor(device: Device, host: BackEndHost, options: VhostUserServerOptions = {}) {
    this.#device = device;
    this.#host = host;
    this.#options = options;
  }

  /** True while a front end is there. */
  get connected(): boolean {
    return this.#backend !== undefined;
  }

  /** Serves the front end at the other end of a channel, when the one that is served now has left. */
  serve(channel: Channel): void {
    if (this.#isClosed || this.#waiting.length === mostWaiting) channel.close();
    else this.#waiting.push(channel);
    this.#next();
  }

  /** Ends the connections, and takes no more. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const channel of this.#waiting.splice(0)) channel.close();
    this.#backend?.close();
  }

  #next(): void {
    if (this.#backend !== undefined) return;
    const channel = this.#waiting.shift();
    if (channel === undefined) return;
    this.#options.onConnected?.();
    const backend = new VhostUserBackend(this.#device, channel, this.#host, {
      ...this.#options,
      onClosed: (error) => {
        this.#backend = undefined;
        this.#options.onDisconnected?.(error);
        this.#next();
      },
    });
    // It may be over already.
    if (!backend.closed) this.#backend = backend;
  }
}
