import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ensureTool, GuardedChild, type VhostUserDevice } from 'virtio-node/guests';

/** QEMU's own back end of a disk, a program beside us: what a guest does with ours is compared with it. */
export class StorageDaemon {
  readonly #storage: string;
  readonly #queues: number;
  readonly #folder: string;
  #child!: GuardedChild;
  /** For a guest, one at a time. */
  readonly device: VhostUserDevice;

  private constructor(storage: string, queues: number, folder: string) {
    this.#storage = storage;
    this.#queues = queues;
    this.#folder = folder;
    this.device = { socket: join(folder, 'disk.sock'), id: 2 };
  }

  /** @param storage what QEMU calls a blockdev, such as `file,filename=PATH` */
  static async start(storage: string, queues = 1): Promise<StorageDaemon> {
    const daemon = new StorageDaemon(storage, queues, await mkdtemp(join(tmpdir(), 'virtio-daemon-')));
    await daemon.#start();
    return daemon;
  }

  /** Ends it at once; `restart` starts another at the same place. */
  async kill(): Promise<void> {
    await this.#child.kill();
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.#start();
  }

  /** True when it is no more, by itself or not. */
  get hasEnded(): boolean {
    return this.#child.hasEnded;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const tool = await ensureTool('qemu-img', { path: [] });
    const started = join(this.#folder, 'started');
    await rm(started, { force: true });
    const lent = ['vhost-user-blk', 'id=disk', 'node-name=disk', 'writable=on', `num-queues=${this.#queues}`];
    this.#child = await GuardedChild.start(
      join(tool.folder, 'qemu-storage-daemon'),
      [
        ...['--blockdev', `${this.#storage},node-name=disk`],
        ...['--export', [...lent, 'addr.type=unix', `addr.path=${this.device.socket}`].join(',')],
        // It is written when everything stands.
        ...['--pidfile', started],
      ],
      { name: 'qemu-storage-daemon', environment: tool.environment },
    );
    while (!(await stat(started).catch(() => undefined))) {
      if (this.#child.hasEnded) throw await this.#child.ended;
      await setTimeout(20);
    }
  }
}
