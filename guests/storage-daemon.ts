import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ensureTool, GuardedChild, type VhostUserDevice } from 'virtio-node/guests';

/** QEMU's own back end of a disk, a program beside us: what a guest does with ours is compared with it. */
export class StorageDaemon {
  readonly #child: GuardedChild;
  readonly #folder: string;
  /** For a guest, one at a time. */
  readonly device: VhostUserDevice;

  private constructor(child: GuardedChild, folder: string, socket: string) {
    this.#child = child;
    this.#folder = folder;
    this.device = { socket, id: 2 };
  }

  /** @param storage what QEMU calls a blockdev, such as `file,filename=PATH` */
  static async start(storage: string): Promise<StorageDaemon> {
    const tool = await ensureTool('qemu-img', { path: [] });
    const folder = await mkdtemp(join(tmpdir(), 'virtio-daemon-'));
    const socket = join(folder, 'disk.sock');
    const started = join(folder, 'started');
    const child = await GuardedChild.start(
      join(tool.folder, 'qemu-storage-daemon'),
      [
        ...['--blockdev', `${storage},node-name=disk`],
        ...[
          '--export',
          `vhost-user-blk,id=disk,node-name=disk,writable=on,addr.type=unix,addr.path=${socket}`,
        ],
        // It is written when everything stands.
        ...['--pidfile', started],
      ],
      { name: 'qemu-storage-daemon', environment: tool.environment },
    );
    while (!(await stat(started).catch(() => undefined))) {
      if (child.hasEnded) throw await child.ended;
      await setTimeout(20);
    }
    return new StorageDaemon(child, folder, socket);
  }

  async stop(): Promise<void> {
    await this.#child.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
