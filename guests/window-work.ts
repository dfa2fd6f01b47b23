import { type FsDevice, type FsWindow, fsDevice, type MemoryFile, memoryFiles } from 'virtio/devices/fs';
import { expect } from 'vitest';

/** A share of files in memory that counts what it is asked to read and write. */
export class WindowShare {
  readonly device: FsDevice;
  readonly #files = memoryFiles();
  /** READ and WRITE requests that reached the files. */
  requests = 0;

  constructor(window: FsWindow<MemoryFile>) {
    const files = this.#files;
    const read = files.read.bind(files);
    files.read = (...given) => {
      this.requests++;
      return read(...given);
    };
    const write = files.write.bind(files);
    files.write = (...given) => {
      this.requests++;
      return write(...given);
    };
    this.device = fsDevice({ tag: 'window', files, window });
  }

  /** What Linux does with it: all by its window, but for what makes a file longer. */
  async exercise(text: (command: string) => Promise<string>): Promise<void> {
    const files = this.#files;
    const content = Uint8Array.from({ length: 3 * 2 ** 20 + 5 }, (_, i) => (i >>> 12) + i);
    files.writeFile('/big', content);
    files.writeFile('/small', 'in memory\n');
    const hash = async (bytes: Uint8Array): Promise<string> =>
      Buffer.from(await crypto.subtle.digest('SHA-256', Uint8Array.from(bytes))).toString('hex');
    const mount =
      'modprobe virtiofs; mkdir -p /mnt/window && mount -t virtiofs -o dax=always window /mnt/window';
    expect(await text(`${mount} && grep -c ' /mnt/window .*dax=always' /proc/mounts`)).toBe('1');
    expect(await text('cd /mnt/window && sha256sum <big && cat small')).toBe(
      `${await hash(content)}  -\nin memory`,
    );
    expect(this.device.mappings).toBe(3);
    await text('cd /mnt/window && echo IN | dd of=small conv=notrunc bs=2 count=1 2>/dev/null && sync');
    expect(await text('cat /mnt/window/small')).toBe('IN memory');
    expect(Buffer.from(files.readFile('/small')).toString()).toBe('IN memory\n');
    expect(this.requests).toBe(0);
    // What makes a file longer is written by a request, and seen in the window.
    await text(
      'cd /mnt/window && echo more >>small && dd if=big of=copy bs=64k 2>/dev/null && rm big && sync',
    );
    expect(await text('cd /mnt/window && cat small && sha256sum <copy')).toBe(
      `IN memory\nmore\n${await hash(content)}  -`,
    );
    expect(await hash(files.readFile('/copy'))).toBe(await hash(content));
    await text('truncate -s 3 /mnt/window/small && truncate -s 6 /mnt/window/small');
    expect(await text('od -An -c /mnt/window/small')).toMatch(/I {3}N {6}\\0 {2}\\0 {2}\\0/);
    await text('umount /mnt/window');
    expect(this.device.mappings).toBe(0);
    expect(await text(`${mount} && head -c 2 /mnt/window/small && umount /mnt/window`)).toBe('IN');
    expect(Buffer.from(files.readFile('/small')).toString()).toBe('IN \0\0\0');
  }
}
