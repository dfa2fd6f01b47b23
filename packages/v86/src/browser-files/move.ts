import { nameOf } from './failure.ts';

/** Not in every browser, nor in every folder, and not in TypeScript's declarations. */
interface Movable extends FileSystemFileHandle {
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}

/** Gives a file another name, in the place of what has it; by a copy, where the browser has no other way. */
export async function moveFile(
  file: FileSystemFileHandle,
  from: FileSystemDirectoryHandle,
  to: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemFileHandle> {
  const before = file.name;
  const movable: Movable = file;
  if (movable.move !== undefined) {
    try {
      await movable.move(to, name);
      return await to.getFileHandle(name);
    } catch (error) {
      if (nameOf(error) === 'NotFoundError') throw error;
    }
  }
  const copy = await to.getFileHandle(name, { create: true });
  const stream = await copy.createWritable();
  await (await file.getFile()).stream().pipeTo(stream);
  await from.removeEntry(before);
  return copy;
}
