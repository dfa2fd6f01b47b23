import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { type NativeGuest, servedAt, type VhostUserDevice } from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { type DeviceServer, deviceServer } from '../lend/server.ts';
import type { Machine, MachineEvents } from './machine.ts';
import type { NamedDevice } from './trace-writer.ts';

/** Starts a guest that is a process beside us, with devices at these sockets. */
export type StartNative = (
  devices: readonly VhostUserDevice[],
  onKernelLine: (line: string) => void,
) => Promise<NativeGuest>;

/** A guest in a process of its own, to which this process serves the devices over vhost-user. */
export async function createNativeMachine(
  named: readonly NamedDevice[],
  events: MachineEvents,
  start: StartNative,
): Promise<Machine> {
  // Nobody else can look into it.
  const folder = await mkdtemp(join(tmpdir(), 'virtio-run-'));
  const served = new ServedDevices(folder, named, events);
  let guest: NativeGuest | undefined;
  let destroyed = false;
  return {
    async run() {
      guest = await start(served.devices, events.kernelLine);
      void guest.ended.then((error) => {
        if (!destroyed) events.gone(error);
      });
    },
    async destroy() {
      destroyed = true;
      await guest?.close();
      await served.close();
    },
  };
}

/** Our devices at sockets in a folder, each for one front end. */
class ServedDevices {
  readonly devices: readonly VhostUserDevice[];
  readonly #folder: string;
  readonly #host = new NodeDescriptors();
  readonly #listening: Listening[] = [];
  readonly #servers: DeviceServer[] = [];
  #connected = 0;

  constructor(folder: string, named: readonly NamedDevice[], events: MachineEvents) {
    this.#folder = folder;
    this.devices = named.map((one) => this.#serve(one, events));
  }

  async close(): Promise<void> {
    for (const one of this.#listening) one.close();
    for (const one of this.#servers) one.close();
    await this.#removeFolder();
  }

  #serve({ name, device }: NamedDevice, events: MachineEvents): VhostUserDevice {
    const server = deviceServer(device, {
      host: this.#host,
      trace: events.tracer?.(name),
      onError: (error, needsReset) => events.deviceError(name, error, needsReset),
      onDisconnected: (error) => {
        if (error instanceof HostError) events.deviceError(name, error, true);
      },
    });
    this.#servers.push(server);
    const socket = join(this.#folder, name);
    const listening = listenUnix(socket, (channel) => {
      // A guest connects once. When all devices are connected nothing is left that a sudden end would leave behind.
      listening.close();
      server.serve(channel);
      this.#connected++;
      if (this.#connected === this.devices.length) void this.#removeFolder();
    });
    this.#listening.push(listening);
    return servedAt(socket, device);
  }

  #removeFolder(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}
