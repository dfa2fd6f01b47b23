import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ensureTool } from 'virtio-node/guests';

const run = promisify(execFile);

/** A file in an ext2 to ext4 image, read with e2fsprogs: no kernel of ours or of the host's takes part. */
export async function fileInImage(image: string, path: string): Promise<Buffer> {
  const { folder, environment } = await ensureTool('e2fsprogs');
  const { stdout } = await run(`${folder}/debugfs`, ['-R', `cat ${path}`, image], {
    env: { ...process.env, ...environment },
    encoding: 'buffer',
    maxBuffer: 2 ** 30,
  });
  return stdout;
}

/** What e2fsck thinks of an image: 0 when it finds nothing to object to. */
export async function checkFileSystem(image: string): Promise<number> {
  const { folder, environment } = await ensureTool('e2fsprogs');
  try {
    await run(`${folder}/e2fsck`, ['-fn', image], { env: { ...process.env, ...environment } });
    return 0;
  } catch (error) {
    // execFile gives its errors the exit status.
    return (error as { code: number }).code;
  }
}
