import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBlk } from 'virtio/devices/blk';
import { openConsole } from 'virtio/devices/console';
import { openEntropy } from 'virtio/devices/entropy';
import type { ReservedFeatureName } from 'virtio/spec';
import { QemuPciMachine } from 'virtio-node/qemu';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { pattern, qemu, sha256 } from './qemu-machine.ts';

// What waits for an answer that never comes is to be told soon: there is much to run.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const imageLength = 8 << 20;

/** Where the devices are, and what they are called on QEMU's command line. */
const slots = { blk: 4, console: 5, rng: 6 } as const;

/** How QEMU presents its devices; each is a machine of its own. */
const presentations = [
  { board: 'pc', kind: 'modern', properties: 'disable-legacy=on,disable-modern=off' },
  { board: 'q35', kind: 'modern, packed', properties: 'disable-legacy=on,disable-modern=off,packed=on' },
  { board: 'pc', kind: 'transitional', properties: 'disable-legacy=off,disable-modern=off' },
] as const;

const interrupts = [
  ['a vector for each queue', undefined, 'msix'],
  ['one vector for all', 1, 'msix'],
  ['INTx', 0, 'intx'],
] as const;

const ring: readonly ReservedFeatureName[] = ['VERSION_1', 'RING_PACKED'];
const rings = [
  ['event index, indirect', [...ring, 'EVENT_IDX', 'INDIRECT_DESC'], 'always'],
  ['event index', [...ring, 'EVENT_IDX'], 'never'],
  ['indirect', [...ring, 'INDIRECT_DESC'], 'always'],
  ['neither', ring, 'never'],
] as const satisfies readonly (readonly [string, readonly ReservedFeatureName[], 'always' | 'never'])[];

describe.each(presentations)('QEMU’s $kind devices on $board', ({ board, properties }) => {
  let folder: string;
  let image: string;
  let machine: QemuPciMachine;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-image-'));
    image = join(folder, 'disk');
    await writeFile(image, pattern(imageLength, 0));
    machine = await QemuPciMachine.start({
      tool: await qemu('qemu-x86'),
      board,
      sockets: ['terminal', 'named'],
      args: [
        ...['-blockdev', `driver=file,node-name=disk,filename=${image}`],
        ...[
          '-device',
          `virtio-blk-pci,addr=${slots.blk},drive=disk,serial=from-qemu,num-queues=2,${properties}`,
        ],
        ...['-device', `virtio-serial-pci,addr=${slots.console},id=console,${properties}`],
        ...['-device', 'virtconsole,bus=console.0,chardev=terminal'],
        ...['-device', 'virtserialport,bus=console.0,chardev=named,name=org.example.named'],
        ...['-device', `virtio-rng-pci,addr=${slots.rng},${properties}`],
      ],
    });
  });
  afterAll(async () => {
    await machine?.close();
    await rm(folder, { recursive: true });
  });

  describe.each(interrupts)('with %s', (_, vectors, choice) => {
    const options = vectors === undefined ? {} : { vectors };

    test.each(rings)('the disk is read and written (%s)', async (_ring, reserved, indirectPolicy) => {
      const transport = await machine.open(slots.blk, options);
      const disk = await openBlk(transport, { reserved, indirectPolicy, queues: 2 });
      expect(transport.interrupts.choice).toBe(choice);
      expect(disk.capacity).toBe(imageLength / 512);
      expect(await disk.getId()).toBe('from-qemu');

      const before = await readFile(image);
      const sectors = await Promise.all([disk.read(0, 8), disk.read(100, 1), disk.read(2000, 2048)]);
      expect(sectors.map(sha256)).toEqual(
        [
          [0, 8],
          [100, 1],
          [2000, 2048],
        ].map(([at = 0, count = 0]) => sha256(before.subarray(at * 512, (at + count) * 512))),
      );

      const seed = 1 + Math.floor(before[512 * 3] ?? 0);
      const written = pattern(3 * 512, seed);
      await Promise.all([disk.write(3, written), disk.write(3000, pattern(1 << 20, seed))]);
      await disk.flush();
      before.set(written, 3 * 512);
      before.set(pattern(1 << 20, seed), 3000 * 512);
      expect(sha256(await readFile(image))).toBe(sha256(before));
      await disk.close();
    });

    test.each(rings)(
      'entropy comes, as much as is asked for (%s)',
      async (_ring, reserved, indirectPolicy) => {
        const transport = await machine.open(slots.rng, options);
        const rng = await openEntropy(transport, { reserved, indirectPolicy });
        const [one, other] = [await rng.read(100_000), await rng.read(100_000)];
        expect(transport.interrupts.choice).toBe(choice);
        // All of one value, or the same twice, is what forgotten bytes look like.
        expect(new Set(one).size).toBe(256);
        expect(sha256(one)).not.toBe(sha256(other));
        await rng.close();
      },
    );

    test.each(rings)('ports carry bytes both ways (%s)', async (_ring, reserved, indirectPolicy) => {
      const transport = await machine.open(slots.console, options);
      const console = await openConsole(transport, { reserved, indirectPolicy });
      expect(console.multiport).toBe(true);
      const [terminal, named] = await Promise.all([console.port(0), console.port('org.example.named')]);
      expect(transport.interrupts.choice).toBe(choice);
      await expect.poll(() => [terminal.isConsole, named.isConsole]).toEqual([true, false]);
      for (const [port, name] of [
        [terminal, 'terminal'],
        [named, 'named'],
      ] as const) {
        await port.open();
        const host = await machine.machine.socket(name);
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
    });
  });
});

async function bytesFrom(socket: Socket, length: number): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for (let received = 0; received < length; ) {
    const [part] = await once(socket, 'data');
    parts.push(part);
    received += part.length;
  }
  return Buffer.concat(parts);
}
