import { mkdir, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exitStatus, usage } from './exit-status.ts';
import { formatJson, type Output } from './output.ts';
import { servedTypes } from './serve/served-types.ts';

/** What `virtio descriptors install` is told. */
export interface DescriptorArguments {
  readonly user: boolean;
  readonly folder?: string;
  readonly json: boolean;
}

/** Behind what a distribution installs: whoever wants ours first renames the file. */
const priority = 60;

/**
 * `virtio descriptors install`: writes the files by which programs that start virtual machines find our back ends, as
 * QEMU's vhost-user.json has them. Answers the exit status.
 */
export async function descriptorsCommand(args: DescriptorArguments, output: Output): Promise<number> {
  if (args.user === (args.folder !== undefined)) {
    throw usage(
      'virtio descriptors install needs --user, or --folder DIR for another place, such as /etc/qemu/vhost-user',
    );
  }
  const configuration = process.env.XDG_CONFIG_HOME || join(homedir(), '.config');
  const folder = args.folder ?? join(configuration, 'qemu', 'vhost-user');
  await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw usage(`${folder} can be made no folder (${error.code}); give another by --folder DIR`, error);
  });
  const files: string[] = [];
  for (const { name, backend } of servedTypes) {
    const file = join(folder, `${priority}-virtio-ts-${name}.json`);
    const binary = fileURLToPath(new URL(`../bin/vhost-user-${name}.js`, import.meta.url));
    const description = { description: `virtio-ts ${name}`, type: backend.type, binary };
    // Whoever reads meanwhile finds the old file or the new one.
    await writeFile(`${file}.new`, `${JSON.stringify(description, undefined, 2)}\n`);
    await rename(`${file}.new`, file);
    files.push(file);
  }
  output.out(args.json ? formatJson({ files }) : files.map((file) => `${file}\n`).join(''));
  return exitStatus.ok;
}
