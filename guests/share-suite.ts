import { appendFile, lstat, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Device } from 'virtio/device';
import { fsDevice } from 'virtio/devices/fs';
import { type FolderTree, type ShareOptions, shareFolder } from 'virtio-node/files';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConsoleSession } from './console-session.ts';
import { describeTree, makeTree } from './share-tree.ts';

/** What the guest has beside what every guest has: `cp` as GNU has it. */
export const shareGuest = { programs: ['coreutils', 'perl-base'] } as const;

/** How a machine with devices is started. */
export type BootWith = (devices: readonly Device[]) => Promise<ConsoleSession>;

/** What is to be done beyond what every machine does. */
export interface ShareWork {
  /** Files that are copied in and out. */
  readonly files: number;
  /** Two machines of this kind are one after the other's locks. */
  readonly twoGuests: boolean;
  /** Another device for the same machine. */
  readonly beside?: Device;
  /** Where the folder is: with other temporary files unless told. */
  readonly base?: string;
}

/** Each folder's tag, and how it is shared. */
const shares = {
  work: { locks: true },
  never: { cache: 'never', locks: true },
  always: { cache: 'always' },
  ro: { readOnly: true },
} as const satisfies Record<string, ShareOptions>;

const cp = '$([ -e /usr/bin/cp ] && echo /usr/bin/cp || echo /bin/cp)';
/** Of Linux; the guest has no module of Perl's that knows them. */
const lock = { EX: 2, EX_NB: 6, UN: 8 } as const;

/** What Linux does with our shares of one folder: one machine, booted once. Answers it, for tests that are added behind these. */
export function shareSuite(
  boot: BootWith,
  { files, twoGuests, beside, base = tmpdir() }: ShareWork,
): () => ConsoleSession {
  let folder: string;
  let machine: ConsoleSession;
  const machines: ConsoleSession[] = [];
  const trees: FolderTree[] = [];
  const at = (name: string): string => join(folder, 'shared', name);

  async function start(): Promise<ConsoleSession> {
    const devices = Object.entries(shares).map(([tag, options]) => {
      const tree = shareFolder(join(folder, 'shared'), options);
      trees.push(tree);
      return fsDevice({ tag, files: tree, onError: (error) => machine?.errors.push(error) });
    });
    const started = await boot(beside === undefined ? devices : [...devices, beside]);
    machines.push(started);
    const tags = Object.keys(shares).join(' ');
    await started.text(
      `modprobe virtiofs && for tag in ${tags}; do mkdir -p /mnt/$tag && mount -t virtiofs $tag /mnt/$tag || exit 1; done`,
    );
    return started;
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(base, 'virtio-share-'));
    await mkdir(join(folder, 'shared'));
    await writeFile(join(folder, 'secret'), 'secret');
    machine = await start();
  });

  afterAll(async () => {
    for (const one of machines) await one.stop();
    for (const tree of trees) tree.close();
    await rm(folder, { recursive: true });
  });

  test(`a tree of ${files} files is copied in and out unchanged`, async () => {
    await makeTree(at('source'), files);
    await machine.text(
      `${cp} -a /mnt/work/source /tmp/copy && ${cp} -a /tmp/copy /mnt/work/back && rm -r /tmp/copy`,
    );
    const source = await describeTree(at('source'));
    expect(source.length).toBeGreaterThan(files);
    expect(source.filter((line) => line.endsWith('with holes')).length).toBe(1);
    expect(await describeTree(at('back'))).toEqual(source);
    expect(await machine.text('find /mnt/work/back | wc -l')).toBe(`${source.length + 1}`);
    await machine.text('rm -r /mnt/work/back');
    expect(machine.errors).toEqual([]);
  });

  test('files are made, changed, moved and removed', async () => {
    const said = await machine.text(
      `cd /mnt/work && mkdir d && echo one >d/f && echo two >>d/f && ln d/f d/g && mv d/g h && rm d/f &&
       stat -c '%h %s %a' h && chown 12:34 h && chmod 4711 h && touch -d '2001-02-03 04:05:06' h && stat -c '%a %u:%g %Y' h &&
       exec 3<h && rm h && cat <&3 && exec 3<&- && ls d && rmdir d && mkfifo p && [ -p p ] && rm p && df . | tail -1 | cut -d' ' -f1 &&
       dd if=/dev/zero of=z bs=1M count=3 2>/dev/null && truncate -s 5 z && stat -c %s z && rm z`,
    );
    expect(said).toBe('1 8 644\n4711 12:34 981173106\none\ntwo\nwork\n5');
  });

  test('several write to one file at once, the host too', async () => {
    const lines = 200;
    const writing = machine.text(
      `for w in 1 2 3 4; do (i=0; while [ $i -lt ${lines} ]; do echo "$w $i" >>/mnt/work/log; i=$((i+1)); done) & done; wait`,
    );
    for (let i = 0; i < lines; i++) await appendFile(at('log'), `0 ${i}\n`);
    await writing;
    const found = (await readFile(at('log'), 'utf8')).trimEnd().split('\n');
    const expected = [0, 1, 2, 3, 4].flatMap((w) => Array.from({ length: lines }, (_, i) => `${w} ${i}`));
    expect(found.sort()).toEqual(expected.sort());
    await machine.text(
      `for w in 0 1 2 3; do yes $w | tr -d '\\n' | dd of=/mnt/work/parts bs=64k seek=$((w*4)) count=4 iflag=fullblock conv=notrunc 2>/dev/null & done; wait`,
    );
    const parts = await readFile(at('parts'), 'latin1');
    expect(parts).toBe(['0', '1', '2', '3'].map((digit) => digit.repeat(262_144)).join(''));
  });

  /** Adds one to a number in a file so often, holding a lock of the file each time. */
  const count = (times: number, take: string, give: string): string =>
    `for w in 1 2 3; do perl -e 'for (1..${times}) { open F, "+<", "/mnt/never/count"; ${take};
       sysread F, $n, 8; sysseek F, 0, 0; syswrite F, sprintf "%08d", $n + 1; ${give}; close F }' & done; wait`;

  test('locks hold between processes', async () => {
    await writeFile(at('count'), '00000000');
    await machine.text(count(30, `flock F, ${lock.EX}`, `flock F, ${lock.UN}`));
    expect(await readFile(at('count'), 'utf8')).toBe('00000090');
    const held = machine.exec(
      `perl -e 'open F, "+<", "/mnt/work/count"; flock F, ${lock.EX}; open G, ">", "/mnt/work/held"; close G; select undef, undef, undef, 0.05 until -e "/mnt/work/go"'`,
    );
    const until = async (name: string): Promise<void> => {
      while (
        !(await stat(at(name)).then(
          () => true,
          () => false,
        ))
      )
        await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await until('held');
    // A program of the host is kept out by the lock of the guest.
    const other = shareFolder(join(folder, 'shared'), { locks: true });
    const entry = other.lookup(other.root, 'count');
    const file = entry && other.open(entry.node, 2);
    const wanted = { type: 'write', start: 0, end: Infinity, owner: {}, pid: 1, whole: true } as const;
    expect(() => file && other.setLock?.(file, wanted, undefined)).toThrow(
      expect.objectContaining({ code: 'EAGAIN' }),
    );
    await writeFile(at('go'), '');
    expect((await held).status).toBe(0);
    other.close();
  });

  test.runIf(twoGuests)('locks hold between the processes of two guests', async () => {
    const second = await start();
    // F_SETLKW is 7; a write lock on all bytes, and none.
    const fcntl = (type: number): string =>
      `$l = pack("s s x4 q q i x4", ${type}, 0, 0, 0, 0); fcntl F, 7, $l`;
    for (const [take, give] of [
      [`flock F, ${lock.EX}`, `flock F, ${lock.UN}`],
      [fcntl(1), fcntl(2)],
    ] as const) {
      await writeFile(at('count'), '00000000');
      await Promise.all([machine, second].map((one) => one.text(count(20, take, give))));
      expect(await readFile(at('count'), 'utf8')).toBe('00000120');
    }
  });

  test('a folder that is changed from outside is seen as its cache mode has it', async () => {
    const all = 'for tag in never work always; do cat /mnt/$tag/rule; done';
    await writeFile(at('rule'), 'old\n');
    expect(await machine.text(`${all}; [ -e /mnt/always/fresh ] || echo absent`)).toBe(
      'old\nold\nold\nabsent',
    );
    await writeFile(at('rule'), 'changed\n');
    await writeFile(at('fresh'), '');
    expect(await machine.text('cat /mnt/never/rule; ls -1 /mnt/never/fresh /mnt/work/fresh')).toBe(
      'changed\n/mnt/never/fresh\n/mnt/work/fresh',
    );
    await machine.text('until [ "$(cat /mnt/work/rule)" = changed ]; do sleep 0.1; done');
    expect(await machine.text('cat /mnt/always/rule; [ -e /mnt/always/fresh ] || echo absent')).toBe(
      'old\nabsent',
    );
    // One that is open is read anew each time.
    await machine.text(
      `perl -e 'open F, "<", "/mnt/never/rule"; sysread F, $b, 99; open G, ">", "/mnt/work/opened"; close G;
         select undef, undef, undef, 0.05 until -e "/mnt/never/again"; sysseek F, 0, 0; sysread F, $b, 99; print $b' >/tmp/seen &
       until [ -e /mnt/work/opened ]; do sleep 0.1; done`,
    );
    await writeFile(at('rule'), 'once more\n');
    await writeFile(at('again'), '');
    await machine.text('until [ -s /tmp/seen ]; do sleep 0.1; done');
    expect(await machine.text('cat /tmp/seen')).toBe('once more');
  });

  test('a guest gets nowhere but into the folder', async () => {
    await symlink(join(folder, 'secret'), at('absolute'));
    await symlink('../secret', at('relative'));
    const said = await machine.text(
      `cd /mnt/work; exec 2>&1; cat absolute; cat relative; cat ../secret; ls -a .. ; mknod null c 1 3; mknod disk b 8 0; echo over`,
    );
    expect(said).not.toMatch(/^secret$/m);
    expect(said.match(/No such file/g)?.length).toBe(3);
    expect(said.match(/Operation not permitted/g)?.length).toBe(2);
    await expect(lstat(at('null'))).rejects.toMatchObject({ code: 'ENOENT' });
    const { status, output } = await machine.exec(
      'cd /mnt/ro; cat rule && ! touch new && ! rm rule && ! mkdir d && ! mv rule other && ! chmod 777 rule && ! ln rule hard',
    );
    expect([status, output.toString().match(/Read-only file system/g)?.length]).toEqual([0, 6]);
    expect(await readFile(join(folder, 'secret'), 'utf8')).toBe('secret');
    expect(machine.errors).toEqual([]);
  });
  return () => machine;
}
