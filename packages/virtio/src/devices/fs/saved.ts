import type { Json } from '../../device/json.ts';
import { UsageError } from '../../errors.ts';
import type { OpenFile } from './file-tree.ts';
import type { KnownNode } from './node-table.ts';
import type { Session } from './session.ts';
import { openFlag, rootNode } from './spec-fuse.ts';

/** A session as numbers: what the guest knows and has open, and what INIT agreed on. */
interface FsState {
  readonly begun: boolean;
  readonly big: boolean;
  readonly minor: number;
  readonly flags: readonly number[];
  readonly nextNode: number;
  /** Number, lookups, and what the tree finds it by. */
  readonly nodes: readonly (readonly [number, number, Json])[];
  /** Number, node, flags, and 1 for a directory. */
  readonly handles: readonly (readonly [number, number, number, number])[];
}

/**
 * What a session is, for a snapshot.
 *
 * @throws {UsageError} BAD_STATE when the tree cannot name its files, and the guest knows some; and while files are mapped.
 */
export function saveSession(session: Session): Json {
  const { tree, nodes, handles, mappings } = session;
  if (mappings !== undefined && mappings.size > 0) {
    throw new UsageError(
      'BAD_STATE',
      'files are mapped into the window of this file system device: unmount it before saving',
    );
  }
  const known = [...nodes.others()];
  const { saveNode } = tree;
  if (known.length > 0 && saveNode === undefined) {
    throw new UsageError(
      'BAD_STATE',
      'the files of this file system device cannot be named again: unmount it before saving',
    );
  }
  return {
    begun: session.begun,
    big: session.endian === 'big',
    minor: session.minor,
    flags: [...session.flags],
    nextNode: nodes.nextId,
    nodes: known.map(({ id, lookups, node }) => [id, lookups, saveNode?.call(tree, node) ?? null]),
    handles: handles.all().map(({ id, known: { id: node }, flags, isDirectory }) => {
      return [id, node, flags, isDirectory ? 1 : 0];
    }),
  };
}

/**
 * Goes on with a session that was saved. Files that the tree does not find again are stale to the guest; those that it
 * cannot open at once are closed. Locks are gone.
 *
 * @throws {UsageError} BAD_STATE when the state is of something else.
 */
export function restoreSession(session: Session, given: Json): void {
  const state = asFsState(given);
  const { tree, nodes, handles } = session;
  session.setEndian(state.big ? 'big' : 'little');
  session.begun = state.begun;
  session.minor = state.minor;
  session.flags = new Set(state.flags);
  nodes.restore(
    state.nextNode,
    state.nodes.flatMap(([id, lookups, saved]) => {
      const node = tree.restoreNode?.(saved);
      return node === undefined ? [] : [{ id, node, lookups }];
    }),
  );
  for (const [id, nodeId, flags, isDirectory] of state.handles) {
    const known = nodes.tryGet(nodeId);
    const file = known === undefined ? undefined : reopen(session, known, flags, isDirectory === 1);
    if (known !== undefined && file !== undefined) handles.restore(id, known, file, flags, isDirectory === 1);
  }
  // A file that could not be opened again may be one that the guest forgot already.
  for (const known of [...nodes.others()]) nodes.drop(known);
}

function reopen(
  session: Session,
  { node }: KnownNode,
  flags: number,
  isDirectory: boolean,
): OpenFile | undefined {
  const { tree } = session;
  const root = { uid: 0, gid: 0, pid: 0 };
  try {
    const wanted = flags & ~(openFlag.TRUNC | openFlag.EXCL);
    const file = isDirectory ? tree.openDirectory(node, root) : tree.open(node, wanted, root);
    if (!(file instanceof Promise)) return file;
    void file.then((late) => session.quietly(() => tree.release?.(late))).catch(() => {});
  } catch (error) {
    session.errnoOf(error);
  }
  return undefined;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const areCounts = (value: unknown): value is number[] => Array.isArray(value) && value.every(isCount);
const isHandle = (value: unknown): value is [number, number, number, number] =>
  areCounts(value) && value.length === 4;

/** Takes JSON for what `saveSession` gave: it may come from a damaged file. */
function asFsState(state: Json): FsState {
  const { begun, big, minor, flags, nextNode, nodes, handles } = Object(state);
  const isNode = (value: unknown): value is [number, number, Json] =>
    Array.isArray(value) && value.length === 3 && areCounts(value.slice(0, 2)) && value[0] > rootNode;
  const isSound =
    typeof begun === 'boolean' &&
    typeof big === 'boolean' &&
    isCount(minor) &&
    areCounts(flags) &&
    isCount(nextNode) &&
    Array.isArray(nodes) &&
    nodes.every((node) => isNode(node) && node[0] < nextNode) &&
    Array.isArray(handles) &&
    handles.every(isHandle);
  if (!isSound) throw new UsageError('BAD_STATE', 'this is not the saved state of a file system device');
  return { begun, big, minor, flags, nextNode, nodes, handles };
}
