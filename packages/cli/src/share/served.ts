import type { CacheMode, IdRange } from 'virtio-node/files';
import { usage } from '../exit-status.ts';
import { wholeNumber } from '../whole-number.ts';
import { cacheModes } from './cache-modes.ts';
import { checkTag } from './plan.ts';

/** The options of `virtio serve fs`, as they were typed. */
export interface ShareArguments {
  readonly sharedDir?: string;
  readonly tag?: string;
  readonly cache?: string;
  readonly readonly: boolean;
  readonly writeback: boolean;
  readonly xattr: boolean;
  readonly locks: boolean;
  readonly announceSubmounts: boolean;
  readonly uidMap: readonly string[];
  readonly gidMap: readonly string[];
  readonly sandbox?: string;
}

/** A folder that is to be served. */
export interface ServedShare {
  readonly folder: string;
  readonly tag: string;
  readonly cache: CacheMode;
  readonly readOnly: boolean;
  readonly writeback: boolean;
  readonly xattrs: boolean;
  readonly locks: boolean;
  readonly submounts: boolean;
  /** Absent where nothing was said. */
  readonly users: readonly IdRange[] | undefined;
  readonly groups: readonly IdRange[] | undefined;
}

/** As QEMU and virtiofsd call it where nobody says anything. */
const usualTag = 'virtiofs';
const mostId = 2 ** 32 - 2;

/** What was said of them, `undefined` for nothing: they go with no other type. */
export function shareOptions(args: ShareArguments): Readonly<Record<string, unknown>> {
  return {
    '--shared-dir': args.sharedDir,
    '--tag': args.tag,
    '--cache': args.cache,
    '--readonly': args.readonly || undefined,
    '--writeback': args.writeback || undefined,
    '--xattr': args.xattr || undefined,
    '--locks': args.locks || undefined,
    '--announce-submounts': args.announceSubmounts || undefined,
    '--uid-map': args.uidMap[0],
    '--gid-map': args.gidMap[0],
    '--sandbox': args.sandbox,
  };
}

/**
 * Checks the options of a folder that is to be served.
 *
 * @throws {CommandError} that names the first mistake.
 */
export function planServedShare(args: ShareArguments): ServedShare {
  if (args.sharedDir === undefined) throw usage('a share needs a folder: --shared-dir DIR');
  if (args.sandbox !== undefined && args.sandbox !== 'none') {
    throw usage(
      `--sandbox ${args.sandbox}: there is none here but \`none\`; run this program as a user who may do little`,
    );
  }
  const tag = args.tag ?? usualTag;
  checkTag('--tag', tag);
  const cache = cacheModes.find((mode) => mode === (args.cache ?? 'auto'));
  if (cache === undefined) throw usage(`--cache ${args.cache} is none of ${cacheModes.join(', ')}`);
  if (args.readonly && args.writeback) throw usage('--writeback does not go with --readonly; leave one out');
  return {
    folder: args.sharedDir,
    tag,
    cache,
    readOnly: args.readonly,
    writeback: args.writeback,
    xattrs: args.xattr,
    locks: args.locks,
    submounts: args.announceSubmounts,
    users: ranges('--uid-map', args.uidMap),
    groups: ranges('--gid-map', args.gidMap),
  };
}

/** `GUEST:HOST:COUNT`, with a separator at both ends too, as virtiofsd has it. */
function ranges(option: string, texts: readonly string[]): IdRange[] | undefined {
  if (texts.length === 0) return undefined;
  return texts.map((text) => {
    const numbers = text.replace(/^:|:$/g, '').split(':');
    const [guest, host, count] = numbers.map((number) => wholeNumber(number, 0, mostId));
    if (numbers.length !== 3 || guest === undefined || host === undefined || !count) {
      throw usage(`${option} ${text}: give GUEST:HOST:COUNT, such as 0:100000:65536`);
    }
    return { guest, host, count };
  });
}
