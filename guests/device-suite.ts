import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Device } from 'virtio/device';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { entropyDevice } from 'virtio/devices/entropy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConsoleSession, SessionOptions } from './console-session.ts';
import { checkFileSystem, fileInImage } from './disk-image.ts';
import { sha256 } from './hash.ts';

const mebibyte = 2 ** 20;

/** Where the guest has the port of the second name. */
const echoPort =
  'dev=/dev/$(basename $(dirname $(grep -lx org.example.echo /sys/class/virtio-ports/*/name)))';

/** What is put into a machine. */
export interface SuiteDevices extends SessionOptions {
  /** Behind the console, in this order. */
  readonly devices: readonly Device[];
}

/**
 * What Linux's own drivers do with our console, disk and entropy source, over any bus: one machine, booted once. Answers
 * the machine, for tests that are added behind these.
 *
 * @param bytes how much the console carries each way
 */
export function deviceSuite<M extends ConsoleSession>(
  boot: (devices: SuiteDevices) => Promise<M>,
  bytes: number,
): () => M {
  const storage = memoryStorage(16 * mebibyte);
  const given: Buffer[] = [];
  const echoes: Buffer[] = [];
  let machine: M;

  beforeAll(async () => {
    machine = await boot({
      devices: [
        blkDevice({ storage, id: 'the-disk' }),
        entropyDevice({
          source(target) {
            crypto.getRandomValues(target);
            given.push(Buffer.from(target));
          },
        }),
      ],
      ports: [{ name: 'org.example.echo', onData: (data) => void echoes.push(Buffer.from(data)) }],
    });
  });

  afterAll(() => machine?.stop());

  test('the devices are bound to their Linux drivers', async () => {
    const bound = await machine.text('cd /sys/bus/virtio/drivers; ls -1d */virtio*');
    const drivers = ['virtio_blk/virtio1', 'virtio_console/virtio0', 'virtio_rng/virtio2'];
    expect(bound.split('\n')).toEqual(drivers);
    expect(machine.errors).toEqual([]);
  });

  test('a file system that the guest makes, fills and syncs is whole from outside', async () => {
    const listed = await machine.text(
      `mke2fs /dev/vda >/dev/null 2>&1 && mount /dev/vda /mnt && mkdir /mnt/a && cd /mnt/a
       for i in 1 2 3 4 5 6 7 8; do head -c $((i * 150001)) /dev/urandom >file$i; done
       rm file3; echo text >../short; sync; sha256sum file* ; cd /; sha256sum /mnt/short`,
    );
    const hashes = new Map(
      listed.split('\n').map((line): [string, string] => {
        const [hash = '', name = ''] = line.split(/\s+/);
        return [name.startsWith('/mnt/') ? name.slice(4) : `/a/${name}`, hash];
      }),
    );
    expect(hashes.size).toBe(8);
    const folder = await mkdtemp(join(tmpdir(), 'virtio-disk-'));
    try {
      const image = join(folder, 'image');
      await writeFile(image, storage.bytes);
      for (const [name, hash] of hashes) expect(sha256(await fileInImage(image, name))).toBe(hash);
      await machine.text('umount /mnt');
      await writeFile(image, storage.bytes);
      expect(await checkFileSystem(image)).toBe(0);
      expect(await machine.text('mount /dev/vda /mnt && cat /mnt/short && umount /mnt')).toBe('text');
      expect(await machine.text('sha256sum </dev/vda')).toBe(`${sha256(storage.bytes)}  -`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('the disk says who it is', async () => {
    expect(await machine.text('cat /sys/block/vda/serial')).toBe('the-disk');
    expect(await machine.text('cat /sys/block/vda/size')).toBe(String((16 * mebibyte) / 512));
  });

  test('hwrng delivers what the source gave', async () => {
    expect(await machine.text('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0');
    given.length = 0;
    const { output, status } = await machine.exec('head -c 4096 /dev/hwrng');
    expect(status).toBe(0);
    expect(output).toHaveLength(4096);
    // The driver keeps bytes of a request that was there before: what comes next is ours.
    expect(Buffer.concat(given).indexOf(output.subarray(-512))).toBeGreaterThanOrEqual(0);
  });

  test(`the console carries ${bytes / 1e6} MB in each direction unchanged`, async () => {
    const sent = randomBytes(bytes);
    const inward = machine.exec(`head -c ${bytes} | sha256sum`);
    await Promise.all([send(machine.console.console, sent), inward]);
    expect((await inward).output.toString()).toBe(`${sha256(sent)}  -\n`);

    const { output } = await machine.exec(
      `head -c ${bytes} /dev/urandom >/tmp/r && sha256sum </tmp/r && cat /tmp/r && rm /tmp/r`,
    );
    const lineEnd = output.indexOf('\n') + 1;
    expect(output).toHaveLength(lineEnd + bytes);
    expect(output.subarray(0, lineEnd).toString()).toBe(`${sha256(output.subarray(lineEnd))}  -\n`);
  });

  test(`a second port is found by its name, and carries ${bytes / 1e6} MB both ways at a time`, async () => {
    expect(await machine.text(`${echoPort}; ls $dev`)).toBe('/dev/vport0p2');
    const sent = randomBytes(bytes);
    const port = machine.console.port('org.example.echo');
    echoes.length = 0;
    const echo = machine.exec(`${echoPort}; exec 3<>$dev; head -c ${bytes} <&3 >&3`);
    await Promise.all([send(port, sent), echo]);
    expect((await echo).status).toBe(0);
    expect(sha256(Buffer.concat(echoes))).toBe(sha256(sent));
  });

  test("a resize reaches the guest's terminal, and its programs hear of it", async () => {
    machine.console.console.resize(132, 43);
    await untilText(() => machine.text('stty size'), '43 132');
    await machine.instruct({ type: 'shell', columns: 100, rows: 30 });
    const type = (text: string): Promise<void> => machine.console.console.write(Buffer.from(text));
    const shown = (text: string): Promise<void> => machine.until(() => machine.output.includes(text), text);
    await shown('# ');
    await type(`sh -c 'trap "stty size; exit" WINCH; echo wait""ing; while :; do sleep 0.1; done'\r`);
    await shown('waiting\r\n');
    machine.console.console.resize(80, 25);
    await shown('25 80\r\n');
    await type('exit 5\r');
    expect((await machine.ended('the shell')).status).toBe(5);
  });

  test('each driver can be unbound and bound again', async () => {
    const drivers = [
      ['virtio_blk', 'virtio1', 'head -c 512 /dev/vd? >/dev/null'],
      ['virtio_rng', 'virtio2', 'head -c 512 /dev/hwrng >/dev/null'],
    ] as const;
    for (const [driver, device, check] of drivers) {
      await machine.text(
        `cd /sys/bus/virtio/drivers/${driver} && echo ${device} >unbind && ! [ -e ${device} ] && echo ${device} >bind && ${check}`,
      );
    }
    expect(machine.errors).toEqual([]);
  });

  test('a reboot resets the devices, and the guest finds them again', async () => {
    await machine.reboot();
    expect(await machine.text('cd /sys/bus/virtio/drivers; ls -d */virtio* | wc -l')).toBe('3');
    const { output } = await machine.exec('cat /dev/vda');
    expect(sha256(output)).toBe(sha256(storage.bytes));
    expect(machine.errors).toEqual([]);
  });

  return () => machine;
}

/** Sends in pieces, each when the one before was taken. */
async function send(port: { write(bytes: Uint8Array): Promise<void> }, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += 65_536) await port.write(bytes.subarray(at, at + 65_536));
}

/** The guest does in its own time what the device tells it. */
async function untilText(read: () => Promise<string>, wanted: string): Promise<void> {
  let last = '';
  for (let i = 0; i < 20 && last !== wanted; i++) last = await read();
  expect(last).toBe(wanted);
}
