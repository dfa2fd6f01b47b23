import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GuestSession, type NativeGuest } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkFileSystem, fileInImage } from './disk-image.ts';
import { sha256 } from './hash.ts';
import type { StartGuest } from './native-machine.ts';
import { StorageDaemon } from './storage-daemon.ts';

const mebibyte = 2 ** 20;

/**
 * What a guest in a process beside us has to do, with somebody else's disk in it. It is booted once, with two serial ports
 * of which it knows.
 */
export function nativeSuite(start: StartGuest): void {
  let folder: string;
  let image: string;
  let daemon: StorageDaemon;
  let guest: NativeGuest;
  let session: GuestSession;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-native-'));
    image = join(folder, 'disk');
    await writeFile(image, '');
    await truncate(image, 32 * mebibyte);
    daemon = await StorageDaemon.start(`file,filename=${image}`);
    guest = await start({ devices: [daemon.device] });
    session = new GuestSession(guest);
    await session.ready();
  });

  afterAll(async () => {
    await guest?.close();
    await daemon?.stop();
    await rm(folder, { recursive: true });
  });

  test('commands run one after the other, their output and status come back unchanged', async () => {
    expect(await session.exec('printf "a\\tb\\r\\n\\303\\244"; exit 42')).toEqual({
      status: 42,
      output: Buffer.from('a\tb\r\nä'),
    });
    expect(await session.exec('kill -9 $$')).toMatchObject({ status: 137 });
    // It arrives whole although the word that it is over comes by another way.
    const { output } = await session.exec(
      'head -c 200000 /dev/urandom >/tmp/r; sha256sum </tmp/r; cat /tmp/r',
    );
    expect(output.subarray(0, 64).toString()).toBe(sha256(output.subarray(68)));
    await expect(session.text('echo no; false')).rejects.toThrow('ended with 1: no');
  });

  test("QEMU's own back end is a disk: a file system that the guest makes on it is whole from outside", async () => {
    expect(await session.text('cat /sys/block/vda/size')).toBe(String((32 * mebibyte) / 512));
    const hash = await session.text(
      `mke2fs /dev/vda >/dev/null 2>&1 && mount /dev/vda /mnt && head -c 5000001 /dev/urandom >/mnt/file &&
       sha256sum </mnt/file && umount /mnt`,
    );
    expect(await checkFileSystem(image)).toBe(0);
    expect(`${sha256(await fileInImage(image, '/file'))}  -`).toBe(hash);
  });

  test('a command that takes too long and a guest that dies are told of', async () => {
    await expect(session.exec('echo before; sleep 1000', 500)).rejects.toMatchObject({
      code: 'GUEST_FAILED',
      message: expect.stringMatching(/did not end echo before; sleep 1000 in time/),
    });
    const next = session.exec('true');
    next.catch(() => {});
    await guest.close();
    await expect(next).rejects.toMatchObject({ code: 'GUEST_FAILED' });
    await expect(session.exec('true')).rejects.toMatchObject({ code: 'GUEST_FAILED' });
  });
}
