import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What {@link makeTree} makes. */
export interface Tree {
  /** Bytes of the file `big`. */
  readonly bigSize: number;
  /** Folders in the folder `small`, over which the small files are spread. */
  readonly folders: number;
  /** Small files in all, of 500 to 4,500 bytes. */
  readonly files: number;
}

/** Fills a folder, which it makes where there is none, with one big file and many small ones. */
export async function makeTree(root: string, { bigSize, folders, files }: Tree): Promise<void> {
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'big'), Buffer.alloc(bigSize, 7));
  for (let folder = 0; folder < folders; folder++) {
    const path = join(root, 'small', `folder${folder}`);
    await mkdir(path, { recursive: true });
    for (let file = 0; file < files / folders; file++) {
      await writeFile(join(path, `file${file}.ts`), Buffer.alloc(500 + ((file * 37) % 4000), 0x61));
    }
  }
}
