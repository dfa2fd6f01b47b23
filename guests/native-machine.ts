import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Device } from 'virtio/device';
import { type LentWindow, VhostUserServer } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import {
  type GuestOptions,
  guestFiles,
  type NativeGuest,
  type NativeGuestOptions,
  servedAt,
  type VhostUserDevice,
} from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { QemuGuest } from 'virtio-node/qemu';
import { UmlMachine } from 'virtio-node/uml';
import { ConsoleSession, type SessionOptions } from './console-session.ts';
import type { SuiteDevices } from './device-suite.ts';
import { qemu } from './qemu-machine.ts';

/** How a guest that is a process beside us is started. */
export type StartGuest = (options: NativeGuestOptions) => Promise<NativeGuest>;

/** What a guest has beside what all have. */
type Beside = Pick<GuestOptions, 'modules' | 'programs'>;

export const startUml =
  (beside: Beside = {}): StartGuest =>
  async (options) =>
    UmlMachine.start({ ...options, guest: await guestFiles({ machine: 'uml', ...beside }) });

export const startQemu =
  (beside: Beside = {}): StartGuest =>
  async (options) =>
    QemuGuest.start({
      ...options,
      tool: await qemu('qemu-11'),
      guest: await guestFiles({ machine: 'qemu', ...beside }),
    });

/** What is put into it. */
export interface NativeDevices extends SuiteDevices {
  /** Shared memory regions of a device. */
  readonly windows?: ReadonlyMap<Device, readonly LentWindow[]>;
}

/** A guest in a process of its own, to which our devices are served over vhost-user, anew whenever it connects. */
export class NativeMachine extends ConsoleSession {
  #guest: NativeGuest | undefined;
  readonly #folder: string;
  readonly #host = new NodeDescriptors();
  readonly #listening: Listening[] = [];
  readonly #servers: VhostUserServer[] = [];

  private constructor(options: SessionOptions, folder: string) {
    super(options);
    this.#folder = folder;
  }

  /** @param packed whether packed rings are offered */
  static async boot(start: StartGuest, packed: boolean, options: NativeDevices): Promise<NativeMachine> {
    const machine = new NativeMachine(options, await mkdtemp(join(tmpdir(), 'virtio-served-')));
    const devices = [machine.console, ...options.devices].map((device, index): VhostUserDevice => {
      const socket = join(machine.#folder, `device${index}`);
      const server = new VhostUserServer(device, machine.#host, {
        windows: options.windows?.get(device),
        packedRing: packed ? packedRing : undefined,
        onError: (error) => void machine.errors.push(error),
        onDisconnected: (error) => {
          if (error !== undefined) machine.errors.push(error);
        },
      });
      machine.#servers.push(server);
      machine.#listening.push(listenUnix(socket, (channel) => server.serve(channel)));
      return servedAt(socket, device);
    });
    const ready = machine.ready();
    try {
      machine.#guest = await start({ devices, onKernelLine: (line) => machine.heard(`${line}\n`) });
      void machine.#guest.ended.then((error) => machine.failed(error));
      await ready;
      return machine;
    } catch (error) {
      ready.catch(() => {});
      await machine.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#guest?.close();
    for (const one of this.#listening) one.close();
    for (const one of this.#servers) one.close();
    await rm(this.#folder, { recursive: true });
  }
}
