import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { servedAt, type VhostUserDevice } from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import type { PciInterface } from '../lend/interfaces.ts';
import type { DeviceServer } from '../lend/lending.ts';
import { deviceServer } from '../lend/server.ts';
import type { MachineEvents } from './machine.ts';
import type { NamedDevice } from './trace-writer.ts';

interface LentDevice extends NamedDevice {
  readonly server: DeviceServer;
}

/** Our devices at sockets in a folder of their own, each for one machine. */
export class ServedDevices {
  /** Over vhost-user; empty where they are whole functions. */
  readonly devices: readonly VhostUserDevice[];
  /** The sockets of whole PCI functions. */
  readonly functions: readonly string[];
  readonly #folder: string;
  readonly #count: number;
  readonly #listening: Listening[] = [];
  readonly #servers: readonly DeviceServer[];
  #connected = 0;

  private constructor(folder: string, lent: readonly LentDevice[], pci: PciInterface | undefined) {
    this.#folder = folder;
    this.#count = lent.length;
    this.#servers = lent.map(({ server }) => server);
    const sockets = lent.map((one) => ({ ...one, socket: this.#listen(one) }));
    this.devices = pci === undefined ? sockets.map(({ socket, device }) => servedAt(socket, device)) : [];
    this.functions = pci === undefined ? [] : sockets.map(({ socket }) => socket);
  }

  /** @param pci lends whole PCI functions for these drivers */
  static async make(
    named: readonly NamedDevice[],
    events: MachineEvents,
    pci: PciInterface | undefined,
  ): Promise<ServedDevices> {
    const host = new NodeDescriptors();
    const lent: LentDevice[] = [];
    for (const { name, device } of named) {
      const server = await deviceServer(device, {
        host,
        pci,
        trace: events.tracer?.(name),
        onError: (error, needsReset) => events.deviceError(name, error, needsReset),
        onDisconnected: (error) => {
          if (error instanceof HostError) events.deviceError(name, error, true);
        },
      });
      lent.push({ name, device, server });
    }
    // Nobody else can look into it.
    return new ServedDevices(await mkdtemp(join(tmpdir(), 'virtio-run-')), lent, pci);
  }

  async close(): Promise<void> {
    for (const one of this.#listening) one.close();
    for (const one of this.#servers) one.close();
    await this.#removeFolder();
  }

  /** Answers the path of its socket. */
  #listen({ name, server }: LentDevice): string {
    const socket = join(this.#folder, name);
    const listening = listenUnix(socket, (channel) => {
      // A guest connects once. When all devices are connected nothing is left that a sudden end would leave behind.
      listening.close();
      server.serve(channel);
      this.#connected++;
      if (this.#connected === this.#count) void this.#removeFolder();
    });
    this.#listening.push(listening);
    return socket;
  }

  #removeFolder(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}
