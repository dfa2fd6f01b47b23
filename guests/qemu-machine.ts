import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureTool, type Tool, type ToolName } from 'virtio-node/guests';

/** QEMU of the version that the known deviations were seen with, not one that may be installed here. */
export function qemu(name: Extract<ToolName, `qemu-${string}`>): Promise<Tool> {
  let last = '';
  return ensureTool(name, {
    path: [],
    progress({ step, detail }) {
      const line = `${step} ${detail}\n`;
      if (line !== last) process.stderr.write(line);
      last = line;
    },
  });
}

/** Bytes that differ from sector to sector. */
export function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >>> 9) * 7 + seed) & 0xff;
  return bytes;
}

/** SHA-256 in hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Runs `body` with a folder that has a disk image of a pattern in it. */
export async function withImage<T>(length: number, body: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-image-'));
  try {
    const path = join(folder, 'disk');
    await writeFile(path, pattern(length, 0));
    return await body(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}
