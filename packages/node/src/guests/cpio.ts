import { UsageError } from 'virtio/errors';

/** One member of a cpio archive. Owner is always root and the time is always 0, so equal trees give equal bytes. */
export type CpioEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly type: 'file'; readonly path: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | { readonly type: 'character'; readonly path: string; readonly major: number; readonly minor: number };

const fileType = { directory: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000 } as const;
const headerSize = 110;
const noData = new Uint8Array(0);
const text = new TextEncoder();

/**
 * Writes a cpio archive in the "newc" format (magic 070701), which Linux unpacks as its initramfs. Entries
 * keep their order: a directory has to stand before what lies in it, and nothing is added.
 *
 * @throws UsageError `BAD_ARGUMENT` for an absolute, empty or repeated path.
 */
export function writeCpio(entries: Iterable<CpioEntry>): Uint8Array {
  const parts: Uint8Array[] = [];
  const seen = new Set<string>();
  let inode = 1;
  for (const entry of entries) {
    if (!entry.path || entry.path.startsWith('/') || seen.has(entry.path)) {
      throw new UsageError('BAD_ARGUMENT', `"${entry.path}" is not a fresh relative path of a cpio archive`);
    }
    seen.add(entry.path);
    push(parts, inode++, entry);
  }
  pushMember(parts, { inode: 0, mode: 0, links: 1, major: 0, minor: 0 }, 'TRAILER!!!', noData);
  return join(parts);
}

function push(parts: Uint8Array[], inode: number, entry: CpioEntry): void {
  const mode = fileType[entry.type] | permissions(entry);
  const links = entry.type === 'directory' ? 2 : 1;
  const { major, minor } = entry.type === 'character' ? entry : { major: 0, minor: 0 };
  pushMember(parts, { inode, mode, links, major, minor }, entry.path, content(entry));
}

function permissions(entry: CpioEntry): number {
  if (entry.type === 'symlink') return 0o777;
  if (entry.type === 'character') return 0o600;
  return entry.mode ?? (entry.type === 'directory' ? 0o755 : 0o644);
}

function content(entry: CpioEntry): Uint8Array {
  if (entry.type === 'file') return entry.data;
  return entry.type === 'symlink' ? text.encode(entry.target) : noData;
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly major: number;
  readonly minor: number;
}

function pushMember(parts: Uint8Array[], header: Header, path: string, data: Uint8Array): void {
  const name = text.encode(`${path}\0`);
  const { inode, mode, links, major, minor } = header;
  // newc: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length, 0];
  const hex = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  parts.push(text.encode(`070701${hex}`), name, padding(headerSize + name.length));
  parts.push(data, padding(data.length));
}

/** The zeroes that bring `length` up to a multiple of four. */
function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
