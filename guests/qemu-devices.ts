import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBlk } from 'virtio/devices/blk';
import { openConsole } from 'virtio/devices/console';
import { openEntropy } from 'virtio/devices/entropy';
import type { Transport } from 'virtio/driver';
import type { ReservedFeatureName } from 'virtio/spec';
import { afterAll, beforeAll, expect } from 'vitest';
import { sha256 } from './hash.ts';
import { pattern } from './qemu-machine.ts';

/** What our driver accepts of a ring's features, where they are offered. */
export interface RingChoice {
  readonly name: string;
  readonly reserved: readonly ReservedFeatureName[];
  readonly indirectPolicy: 'always' | 'never';
}

const ring: readonly ReservedFeatureName[] = ['VERSION_1', 'RING_PACKED'];

export const rings: readonly RingChoice[] = [
  {
    name: 'event index, indirect',
    reserved: [...ring, 'EVENT_IDX', 'INDIRECT_DESC'],
    indirectPolicy: 'always',
  },
  { name: 'event index', reserved: [...ring, 'EVENT_IDX'], indirectPolicy: 'never' },
  { name: 'indirect', reserved: [...ring, 'INDIRECT_DESC'], indirectPolicy: 'always' },
  { name: 'neither', reserved: ring, indirectPolicy: 'never' },
];

/** Bytes of the disk. */
const imageLength: number = 8 << 20;
export const serial = 'from-qemu';
export const portName = 'org.example.named';

/** QEMU's arguments for a disk, a console with two ports, and entropy; `suffix` as in `virtio-blk-pci`. */
function deviceArguments(
  suffix: 'pci' | 'device' | 'ccw',
  image: string,
  properties: Readonly<Record<'blk' | 'console' | 'entropy', string>>,
): string[] {
  return [
    ...['-blockdev', `driver=file,node-name=disk,filename=${image}`],
    ...['-device', `virtio-blk-${suffix},drive=disk,serial=${serial},num-queues=2,${properties.blk}`],
    ...['-device', `virtio-serial-${suffix},id=console,${properties.console}`],
    ...['-device', 'virtconsole,bus=console.0,chardev=terminal'],
    ...['-device', `virtserialport,bus=console.0,chardev=named,name=${portName}`],
    ...['-device', `virtio-rng-${suffix},${properties.entropy}`],
  ];
}

/** Character devices that these arguments want. */
const sockets = ['terminal', 'named'] as const;

type Placed = Readonly<Record<'blk' | 'console' | 'entropy', number>>;

/**
 * A machine with these devices for a group of tests, and the image of its disk: there while the tests run.
 *
 * @param properties of a device at a place
 */
export function machineForTests<M extends { close(): Promise<void> }>(
  suffix: 'pci' | 'device' | 'ccw',
  places: Placed,
  properties: (place: number) => string,
  start: (devices: { readonly sockets: typeof sockets; readonly args: readonly string[] }) => Promise<M>,
): { readonly machine: M; readonly image: string } {
  let folder = '';
  let image = '';
  let machine: M | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-image-'));
    image = join(folder, 'disk');
    await writeFile(image, pattern(imageLength, 0));
    const args = deviceArguments(suffix, image, {
      blk: properties(places.blk),
      console: properties(places.console),
      entropy: properties(places.entropy),
    });
    machine = await start({ sockets, args });
  });
  afterAll(async () => {
    await machine?.close();
    await rm(folder, { recursive: true });
  });
  return {
    get machine(): M {
      if (machine === undefined) throw new Error('the machine is there while the tests run');
      return machine;
    },
    get image(): string {
      return image;
    },
  };
}

/** Reads and writes the disk, and compares with the image from outside. */
export async function exerciseDisk(transport: Transport, image: string, choice: RingChoice): Promise<void> {
  const disk = await openBlk(transport, { ...choice, queues: 2 });
  expect(disk.capacity).toBe(imageLength / 512);
  expect(await disk.getId()).toBe(serial);

  const expected = await readFile(image);
  const ranges = [
    [0, 8],
    [100, 1],
    [2000, 2048],
  ] as const;
  const read = await Promise.all(ranges.map(([sector, count]) => disk.read(sector, count)));
  for (const [at, [sector, count]] of ranges.entries()) {
    expect(sha256(read[at] ?? new Uint8Array())).toBe(
      sha256(expected.subarray(sector * 512, (sector + count) * 512)),
    );
  }

  const seed = (expected[3 * 512] ?? 0) + 1;
  const [small, large] = [pattern(3 * 512, seed), pattern(1 << 20, seed)];
  await Promise.all([disk.write(3, small), disk.write(3000, large)]);
  await disk.flush();
  expected.set(small, 3 * 512);
  expected.set(large, 3000 * 512);
  expect(sha256(await readFile(image))).toBe(sha256(expected));
  await disk.close();
}

/** Takes more entropy than fits one request. */
export async function exerciseEntropy(transport: Transport, choice: RingChoice): Promise<void> {
  const rng = await openEntropy(transport, choice);
  const [one, other] = [await rng.read(100_000), await rng.read(100_000)];
  // All of one value, or the same twice, is what forgotten bytes look like.
  expect(new Set(one).size).toBe(256);
  expect(sha256(one)).not.toBe(sha256(other));
  await rng.close();
}

/** Sends bytes both ways through both ports of the console. */
export async function exercisePorts(
  transport: Transport,
  socketOf: (name: string) => Promise<Socket>,
  choice: RingChoice,
): Promise<void> {
  const console = await openConsole(transport, choice);
  expect(console.multiport).toBe(true);
  const [terminal, named] = await Promise.all([console.port(0), console.port(portName)]);
  await expect.poll(() => [terminal.isConsole, named.isConsole]).toEqual([true, false]);
  for (const [port, name] of [
    [terminal, sockets[0]],
    [named, sockets[1]],
  ] as const) {
    await port.open();
    const host = await socketOf(name);
    const up = pattern(50_000, 1);
    const [received] = await Promise.all([bytesFrom(host, up.length), port.write(up)]);
    expect(sha256(received)).toBe(sha256(up));
    const down = pattern(20_000, 2);
    host.write(down);
    const parts: Uint8Array[] = [];
    for (let length = 0; length < down.length; ) {
      const part = (await port.read()) ?? new Uint8Array();
      parts.push(part);
      length += part.length;
    }
    expect(sha256(Buffer.concat(parts))).toBe(sha256(down));
  }
  await console.close();
}

async function bytesFrom(socket: Socket, length: number): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for (let received = 0; received < length; ) {
    const [part] = await once(socket, 'data');
    parts.push(part);
    received += part.length;
  }
  return Buffer.concat(parts);
}
