import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Device, type Tracer, tracing } from 'virtio/device';
import { blkDevice } from 'virtio/devices/blk';
import type { VirtioError } from 'virtio/errors';
import { VhostUserServer } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { GuestSession, type NativeGuest, type NativeGuestOptions } from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { type FileStorage, openFileStorage } from 'virtio-node/storage';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkFileSystem, fileInImage } from './disk-image.ts';
import { sha256 } from './hash.ts';

const mebibyte = 2 ** 20;

/** A device of ours at a socket, for one front end after the other. */
export class ServedDevice {
  readonly errors: VirtioError[] = [];
  /** How many connections there were. */
  connections = 0;
  readonly #listening: Listening;
  readonly #server: VhostUserServer;

  constructor(device: Device, path: string, trace?: Tracer) {
    this.#server = new VhostUserServer(device, new NodeDescriptors(), {
      packedRing,
      trace: trace && tracing(trace),
      onError: (error) => void this.errors.push(error),
      onConnected: () => this.connections++,
      onDisconnected: (error) => {
        if (error !== undefined) this.errors.push(error);
      },
    });
    this.#listening = listenUnix(path, (channel) => this.#server.serve(channel));
  }

  stop(): void {
    this.#listening.close();
    this.#server.close();
  }
}

/** How a guest is started with devices of ours in it. */
export type StartGuest = (options: NativeGuestOptions) => Promise<NativeGuest>;

/** A disk of ours in somebody's machine, and another device beside it. One guest, booted once. */
export interface SuiteOptions {
  readonly start: StartGuest;
  readonly packed: boolean;
  /** Serves the other device at a path: its virtio id, and the test of it. */
  readonly beside: {
    readonly id: number;
    readonly device: Device;
    readonly test: (session: GuestSession) => Promise<void>;
  };
}

/** What Linux does with devices of ours behind somebody's front end. */
export function vhostUserSuite({ start, packed, beside }: SuiteOptions): void {
  let folder: string;
  let image: string;
  let storage: FileStorage;
  let guest: NativeGuest;
  let session: GuestSession;
  const served: ServedDevice[] = [];
  const accepted: (readonly string[])[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-served-'));
    image = join(folder, 'disk');
    await writeFile(image, '');
    await truncate(image, 32 * mebibyte);
    storage = await openFileStorage(image);
    const disk = blkDevice({ storage, id: 'the-disk', segMax: 126 });
    const sockets = [join(folder, 'disk.sock'), join(folder, 'beside.sock')] as const;
    served.push(
      new ServedDevice(disk, sockets[0], (event) => {
        if (event.kind === 'features') accepted.push(event.accepted);
      }),
      new ServedDevice(beside.device, sockets[1]),
    );
    guest = await start({
      devices: [
        { socket: sockets[0], id: 2 },
        { socket: sockets[1], id: beside.id },
      ],
    });
    session = new GuestSession(guest);
    await session.ready();
  });

  afterAll(async () => {
    await guest?.close();
    for (const one of served) one.stop();
    await storage?.close();
    await rm(folder, { recursive: true });
  });

  test('a file system that the guest makes on our disk is whole from outside', async () => {
    expect(await session.text('cat /sys/block/vda/size /sys/block/vda/serial')).toBe(
      `${(32 * mebibyte) / 512}\nthe-disk`,
    );
    const hash = await session.text(
      `mke2fs /dev/vda >/dev/null 2>&1 && mount /dev/vda /mnt && head -c 5000001 /dev/urandom >/mnt/file &&
       sha256sum </mnt/file && umount /mnt`,
    );
    expect(await checkFileSystem(image)).toBe(0);
    expect(`${sha256(await fileInImage(image, '/file'))}  -`).toBe(hash);
    expect(served[0]?.errors).toEqual([]);
    expect(accepted.at(-1)?.includes('RING_PACKED')).toBe(packed);
  });

  test('another device of ours works beside it', async () => {
    await beside.test(session);
    expect(served[1]?.errors).toEqual([]);
  });
}
