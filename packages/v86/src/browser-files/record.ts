import { fileType } from 'virtio/devices/fs';
import type { BrowserNode } from './node.ts';
import { isName, recordName } from './stored-names.ts';

/** What a folder's record has of one file. Times are seconds and nanoseconds. */
export interface Recorded {
  readonly ino: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev?: number;
  readonly target?: string;
  /** Access, modification, change, birth. */
  readonly times: readonly number[];
}

/** What a folder's record has: each file by its name, and for the topmost folder itself. */
export interface FolderRecord {
  readonly files: ReadonlyMap<string, Recorded>;
  readonly self: Recorded | undefined;
}

const version = 1;
const none: FolderRecord = { files: new Map(), self: undefined };

/** A folder's record; an empty one where there is none, or none that makes sense: files without one have plain modes. */
export async function readRecord(folder: FileSystemDirectoryHandle): Promise<FolderRecord> {
  let text: string;
  try {
    text = await (await (await folder.getFileHandle(recordName)).getFile()).text();
  } catch {
    return none;
  }
  try {
    const { version: found, files, self } = Object(JSON.parse(text));
    if (found !== version || !Array.isArray(files)) return none;
    const sound = files.filter(
      (entry): entry is [string, Recorded] =>
        Array.isArray(entry) && typeof entry[0] === 'string' && isName(entry[0]) && isRecorded(entry[1]),
    );
    return { files: new Map(sound), self: isRecorded(self) ? self : undefined };
  } catch {
    return none;
  }
}

/** Writes a folder's record, all of it or nothing: the browser puts the new file in the old one's place. */
export async function writeRecord(folder: FileSystemDirectoryHandle, of: BrowserNode): Promise<void> {
  const files = [...(of.children ?? [])].map(([name, node]) => [name, recorded(node)]);
  const self = of.parent === of ? recorded(of) : undefined;
  const file = await folder.getFileHandle(recordName, { create: true });
  const stream = await file.createWritable();
  try {
    await stream.write(JSON.stringify({ version, self, files }));
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw error;
  }
}

function recorded(node: BrowserNode): Recorded {
  const { ino, mode, uid, gid, rdev, target } = node;
  const { atime, atimensec, mtime, mtimensec, ctime, ctimensec, btime, btimensec } = node;
  return {
    ino,
    mode,
    uid,
    gid,
    ...(rdev === 0 ? {} : { rdev }),
    ...(target === undefined ? {} : { target }),
    times: [atime, atimensec, mtime, mtimensec, ctime, ctimensec, btime, btimensec],
  };
}

/** Gives a node what its record has. */
export function applyRecord(node: BrowserNode, { mode, uid, gid, rdev, target, times }: Recorded): void {
  node.mode = mode;
  node.uid = uid;
  node.gid = gid;
  node.rdev = rdev ?? 0;
  node.target = target;
  const [
    atime = 0,
    atimensec = 0,
    mtime = 0,
    mtimensec = 0,
    ctime = 0,
    ctimensec = 0,
    btime = 0,
    btimensec = 0,
  ] = times;
  Object.assign(node, { atime, atimensec, mtime, mtimensec, ctime, ctimensec, btime, btimensec });
}

const isWhole = (value: unknown, least = 0): boolean => Number.isSafeInteger(value) && Number(value) >= least;

function isRecorded(value: unknown): value is Recorded {
  const { ino, mode, uid, gid, rdev = 0, target = '', times } = Object(value);
  return (
    isWhole(ino, 2) &&
    isWhole(mode) &&
    mode <= 0xffff &&
    [uid, gid, rdev].every((id) => isWhole(id) && id <= 0xffff_ffff) &&
    typeof target === 'string' &&
    ((mode & fileType.MASK) === fileType.SYMLINK) === (target !== '') &&
    Array.isArray(times) &&
    times.length === 8 &&
    times.every((time, i) => isWhole(time, i % 2 === 0 ? Number.MIN_SAFE_INTEGER : 0))
  );
}
