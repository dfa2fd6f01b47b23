import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { createQcow2 } from 'virtio-node/storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkFileSystem } from './disk-image.ts';
import { qemu } from './qemu-machine.ts';

const virtio = fileURLToPath(new URL('../packages/cli/bin/virtio.js', import.meta.url));
const blockSize = 4096;
/** Loops in the guest that write, each its own block of a raw image. */
const writers = 4;
/** Loops that write to a qcow2 image, each time to a cluster that is new, until they begin anew. */
const clusterWriters = 2;
const places = 1000;
const blocksOfCluster = 65_536 / blockSize;
/** Of each back end, with each ring. */
const deaths = Number(process.env.VIRTIO_DEATHS ?? 50);

/** `virtio serve blk` in a process of its own, which dies and is started again. */
class Served {
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  constructor(socket: string, image: string, option: '--direct' | '--write-through') {
    this.#args = [virtio, 'serve', 'blk', '--socket-path', socket, '--blk-file', image, option, '--json'];
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, this.#args, { stdio: ['ignore', 'inherit', 'pipe'] });
    this.#child = child;
    let said = '';
    for await (const bytes of child.stderr) {
      said += bytes;
      if (said.includes('"listening"')) break;
    }
    if (!said.includes('"listening"')) throw new Error(`it does not listen: ${said}`);
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    return child.exitCode;
  }
}

const hasProgress = (before: readonly number[], now: readonly number[]): boolean =>
  now.some((number, writer) => number > (before[writer] ?? 0));

describe.each([false, true])('a back end that is killed in the middle of writes (packed: %s)', (packed) => {
  let folder: string;
  let raw: string;
  let files: string;
  let served: readonly Served[];
  let guest: QemuGuest;
  let session: GuestSession;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-crash-'));
    raw = join(folder, 'raw');
    files = join(folder, 'files');
    for (const image of [raw, files]) {
      await writeFile(image, '');
      await truncate(image, 16 * 2 ** 20);
    }
    const clusters = join(folder, 'clusters.qcow2');
    await createQcow2(clusters, { size: places * clusterWriters * blocksOfCluster * blockSize });
    const sockets = ['raw', 'files', 'clusters'].map((name) => join(folder, `${name}.sock`));
    served = [raw, files, clusters].map(
      // Of a format with metadata a write is there after a death once it was stable.
      (image, i) => new Served(sockets[i] ?? '', image, image === clusters ? '--write-through' : '--direct'),
    );
    await Promise.all(served.map((one) => one.start()));
    guest = await QemuGuest.start({
      tool: await qemu('qemu-x86'),
      guest: await guestFiles({ machine: 'qemu' }),
      ports: 2,
      append: serialPorts('ttyS1', 'ttyS2'),
      args: sockets.flatMap((path, index) => [
        ...['-chardev', `socket,id=ours${index},path=${path},reconnect-ms=50`],
        ...['-device', `vhost-user-blk-pci,chardev=ours${index},packed=${packed ? 'on' : 'off'}`],
      ]),
    });
    session = new GuestSession(guest);
    await session.ready();
  });

  afterAll(async () => {
    await guest?.close();
    for (const one of served ?? []) await one.end('SIGTERM');
    await rm(folder, { recursive: true });
  });

  /** The number that a writer's block is full of. */
  async function written(writer: number): Promise<number> {
    const file = await open(raw);
    const block = Buffer.alloc(blockSize);
    await file.read(block, 0, blockSize, writer * blockSize);
    await file.close();
    const [line = ''] = block.toString().split('\n');
    // All of it is of one write.
    expect(block.equals(Buffer.from(`${line}\n`.repeat(blockSize)).subarray(0, blockSize))).toBe(true);
    return Number(line);
  }

  /** The last numbers that the writers of each image were told to be there. */
  async function acknowledged(): Promise<{ raw: number[]; clusters: number[] }> {
    const numbers = (await session.text('cd /tmp; cat ack?; cat told?')).split('\n').map(Number);
    return { raw: numbers.slice(0, writers), clusters: numbers.slice(writers) };
  }

  /** What the guest finds where it wrote these numbers to the qcow2 image. */
  async function inClusters(numbers: readonly number[]): Promise<number[]> {
    const reads = numbers.map((number, writer) => {
      const block = ((number % places) * clusterWriters + writer) * blocksOfCluster;
      return `dd if=/dev/vdc bs=${blockSize} skip=${block} count=1 iflag=direct 2>/dev/null | head -n1`;
    });
    return (await session.text(reads.join('; '))).split('\n').map(Number);
  }

  test(
    `${deaths} times over: what was acknowledged is there, and nothing older comes back`,
    async () => {
      await session.text(`cd /tmp && touch go && mke2fs /dev/vdb >/dev/null 2>&1 && mount /dev/vdb /mnt
      for w in ${[...Array(writers).keys()].join(' ')}; do
        echo 0 >ack$w
        ( n=0
          while [ -e go ]; do
            n=$((n + 1)); yes $n | head -c ${blockSize} >block$w
            dd if=block$w of=/dev/vda bs=${blockSize} seek=$w conv=notrunc oflag=direct 2>/dev/null && echo $n >new$w && mv new$w ack$w
          done ) &
      done
      for w in ${[...Array(clusterWriters).keys()].join(' ')}; do
        echo 0 >told$w
        ( n=0
          while [ -e go ]; do
            n=$((n + 1)); yes $n | head -c ${blockSize} >cluster$w
            dd if=cluster$w of=/dev/vdc bs=${blockSize} seek=$(((n % ${places} * ${clusterWriters} + w) * ${blocksOfCluster})) conv=notrunc oflag=direct 2>/dev/null && echo $n >said$w && mv said$w told$w
          done ) &
      done
      ( n=0; while [ -e go ]; do n=$((n + 1)); echo $n >/mnt/file$((n % 50)); sync; done ) &
      true`);
      for (let death = 0; death < deaths; death++) {
        let before = await acknowledged();
        while (before.clusters.includes(0)) before = await acknowledged();
        await Promise.all(served.map((one) => one.end('SIGKILL')));
        await Promise.all(served.map((one) => one.start()));
        // What it had acknowledged is there, and it goes on.
        const found = await inClusters(before.clusters);
        for (const [writer, number] of before.clusters.entries())
          expect(found[writer]).toBeGreaterThanOrEqual(number);
        let now = before;
        do {
          for (const [writer, number] of now.raw.entries())
            expect(await written(writer)).toBeGreaterThanOrEqual(number);
          now = await acknowledged();
        } while (!hasProgress(before.raw, now.raw) || !hasProgress(before.clusters, now.clusters));
      }
      await session.text(
        'cd /tmp; rm go; wait; while fuser /dev/vda /dev/vdc >/dev/null 2>&1; do sleep 0.1; done; umount /mnt; sync',
      );
      const last = await acknowledged();
      for (const [writer, number] of last.raw.entries()) expect(await written(writer)).toBe(number);
      expect(await inClusters(last.clusters)).toEqual(last.clusters);
      for (const one of served) expect(await one.end('SIGTERM')).toBe(0);
      expect(await checkFileSystem(files)).toBe(0);
    },
    36_000 * Math.max(50, deaths),
  );
});
