import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { runOrFail } from './run.ts';

const xzMagic = 'fd377a585a00';
const text = new TextEncoder();

/**
 * Unpacks the xz stream of a kernel image. dpkg-deb does it, which is wherever packages can be unpacked at all: the
 * stream is handed to it as the content of a package.
 *
 * @param payload the stream, followed by the kernel's own four bytes of length
 * @param folder where it may make files for the time being
 * @throws HostError `BAD_IMAGE` if it is packed otherwise, or is not as long as it says.
 */
export async function unpackXz(payload: Uint8Array, folder: string): Promise<Uint8Array> {
  if (Buffer.from(payload.subarray(0, 6)).toString('hex') !== xzMagic) {
    throw new HostError('BAD_IMAGE', 'the kernel is not packed by xz');
  }
  const file = join(folder, 'payload.deb');
  await writeFile(file, packageAround(payload.subarray(0, -4)));
  const content = await runOrFail('dpkg-deb', ['--fsys-tarfile', file]);
  await rm(file);
  const length = Buffer.from(payload.subarray(-4)).readUInt32LE();
  if (content.length !== length) {
    throw new HostError('BAD_IMAGE', `the kernel unpacks to ${content.length} bytes instead of ${length}`);
  }
  return content;
}

/** A Debian package (an ar archive) whose data member is this xz stream. */
function packageAround(stream: Uint8Array): Uint8Array {
  const emptyTar = new Uint8Array(1024);
  const members: [string, Uint8Array][] = [
    ['debian-binary', text.encode('2.0\n')],
    ['control.tar', emptyTar],
    ['data.tar.xz', stream],
  ];
  const parts = members.flatMap(([name, data]) => [
    text.encode(arHeader(name, data.length)),
    data,
    new Uint8Array(data.length & 1).fill(0x0a),
  ]);
  return Buffer.concat([text.encode('!<arch>\n'), ...parts]);
}

function arHeader(name: string, size: number): string {
  const [time, owner, group] = ['0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6)];
  return `${name.padEnd(16)}${time}${owner}${group}${'100644'.padEnd(8)}${String(size).padEnd(10)}\`\n`;
}
