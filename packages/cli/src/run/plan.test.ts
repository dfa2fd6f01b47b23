import { link, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exitStatus } from '../exit-status.ts';
import type { RunArguments } from './arguments.ts';
import { planRun } from './plan.ts';

const none: RunArguments = {
  machine: 'v86',
  disk: [],
  share: [],
  net: [],
  memory: '256',
  fresh: false,
  json: false,
};

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-plan-'));
  await writeFile(at('disk'), new Uint8Array(1024));
  await writeFile(at('other'), new Uint8Array(512));
  await writeFile(at('odd'), new Uint8Array(1025));
  await writeFile(at('odd.qcow2'), new Uint8Array(1025));
  await writeFile(at('empty'), '');
  await writeFile(at('comma,ro'), new Uint8Array(512));
  await symlink('disk', at('symlink'));
  await link(at('disk'), at('hardlink'));
  await mkdir(at('folder'));
});

afterAll(() => rm(folder, { recursive: true }));

it('reads disks with ,ro and ,format=, in any order', async () => {
  const disk = [
    at('disk'),
    `${at('other')},ro`,
    `${at('comma,ro')},ro`,
    `${at('odd.qcow2')},format=qcow2,ro`,
    `${at('odd')},ro,format=qcow2`,
  ];
  const { disks } = await planRun({ ...none, disk: [...disk, 'nbd://host/a,b,ro'] });
  expect(disks).toEqual([
    { path: at('disk'), readOnly: false },
    { path: at('other'), readOnly: true },
    { path: at('comma,ro'), readOnly: true },
    { path: at('odd.qcow2'), readOnly: true, format: 'qcow2' },
    { path: at('odd'), readOnly: true, format: 'qcow2' },
    { path: 'nbd://host/a,b', readOnly: true },
  ]);
});

it('takes the first bus of a machine unless told, and none where there is no choice', async () => {
  const busOf = async (args: Partial<RunArguments>) => (await planRun({ ...none, ...args })).bus?.name;
  expect(await busOf({})).toBe('pci');
  expect(await busOf({ machine: 'qemu' })).toBe('pci');
  expect(await busOf({ machine: 'qemu', bus: 'mmio' })).toBe('mmio');
  expect(await busOf({ machine: 'uml' })).toBeUndefined();
});

it('shares the current folder for reading, unless told, where there is room and a bus for it', async () => {
  const shares = async (args: Partial<RunArguments>) => (await planRun({ ...none, ...args })).shares;
  const usual = { folder: process.cwd(), tag: 'host', readOnly: true, byDefault: true };
  expect(await shares({})).toEqual([usual]);
  expect(await shares({ bus: 'mmio' })).toEqual([usual]);
  expect(await shares({ bus: 'pci-legacy' })).toEqual([]);
  expect(await shares({ share: ['none'] })).toEqual([]);
  const given = Array.from({ length: 10 }, (_, index) => `.:t${index}`);
  expect((await shares({ share: given })).map(({ tag }) => tag)).toEqual(given.map((text) => text.slice(2)));
  await expect(shares({ share: [...given, '.:more'] })).rejects.toThrow(
    /11 times; beside the disks 10 shares/,
  );
  await expect(shares({ share: ['.'], bus: 'mmio-legacy' })).rejects.toThrow(/younger than the legacy/);
});

it.each<[string, () => Partial<RunArguments>, RegExp]>([
  [
    'sockets on a bus that they are too young for',
    () => ({ vsock: '/tmp/v', bus: 'pci-legacy' }),
    /--vsock does not go with --bus pci-legacy/,
  ],
  ['a missing disk', () => ({ disk: [at('nothing')] }), /no such file/],
  ['a format over NBD', () => ({ disk: ['nbd://host,format=qcow2'] }), /server knows the format/],
  ['one export twice', () => ({ disk: ['nbd://host/x', 'nbd://host/x,ro'] }), /same file/],
  ['an unknown format', () => ({ disk: [`${at('disk')},format=vmdk`] }), /vmdk is no format/],
  ['an option and no file', () => ({ disk: [',ro'] }), /names no file/],
  ['a folder', () => ({ disk: [at('folder')] }), /no plain file/],
  ['an empty disk', () => ({ disk: [at('empty')] }), /is empty; truncate/],
  ['a broken last sector', () => ({ disk: [at('odd')] }), /1 bytes more.*truncate -s 1536/],
  ['one file twice', () => ({ disk: [at('disk'), at('disk')] }), /same file/],
  ['one file by a symbolic link', () => ({ disk: [at('disk'), at('symlink')] }), /same file/],
  ['one file by a hard link', () => ({ disk: [at('disk'), `${at('hardlink')},ro`] }), /same file/],
  [
    'a disk that is the initramfs',
    () => ({ disk: [at('disk')], initrd: at('disk') }),
    /same file as --initrd/,
  ],
  ['a path through a file', () => ({ disk: [at('disk/x')] }), /cannot be reached \(ENOTDIR\)/],
  ['a missing kernel', () => ({ kernel: at('nothing') }), /--kernel .*no such file/],
  ['a trace over a disk', () => ({ disk: [at('disk')], trace: at('symlink') }), /would overwrite --disk/],
  ['a trace that is a folder', () => ({ trace: at('folder') }), /is a folder/],
  ['a trace nowhere', () => ({ trace: at('nothing/trace') }), /is no folder/],
  ['a machine that is none', () => ({ machine: 'vax' }), /--machine vax is no machine/],
  ['a bus where there is no choice', () => ({ machine: 'uml', bus: 'pci' }), /uml has one bus of its own/],
  [
    'a bus that the machine has not',
    () => ({ machine: 'qemu', bus: 'mmio-legacy' }),
    /give one of pci, pci-transitional, pci-legacy, mmio, or --machine v86/,
  ],
  ['less memory than this machine takes', () => ({ machine: 'uml', memory: '63' }), /from 64 to 65536/],
  ['memory in letters', () => ({ memory: '1G' }), /from 128 to 2047/],
  ['too little memory', () => ({ memory: '16' }), /from 128 to 2047/],
  ['too much memory', () => ({ memory: '4096' }), /from 128 to 2047/],
  ['twelve disks', () => ({ disk: Array.from({ length: 12 }, () => 'x') }), /11 disks fit/],
  [
    'thirteen disks and no network',
    () => ({ disk: Array.from({ length: 13 }, () => 'x'), net: ['none'] }),
    /12 disks fit/,
  ],
  ['thirteen networks', () => ({ net: Array.from({ length: 13 }, () => 'user') }), /12 networks fit/],
  ['a network that is none', () => ({ net: ['slirp'] }), /slirp is no network/],
  ['a capture of nothing', () => ({ net: ['none'], capture: at('c') }), /nothing to write/],
  ['a capture over a disk', () => ({ disk: [at('disk')], capture: at('symlink') }), /overwrite --disk/],
  ['a capture over the trace', () => ({ trace: at('t'), capture: at('t') }), /overwrite --trace/],
  ['a bus that is none', () => ({ bus: 'isa' }), /--bus isa is no bus; give one of pci, /],
  ['an empty command', () => ({ exec: ' ' }), /needs a command/],
])('refuses %s, and writes nothing', async (_, mistake, message) => {
  const before = await readdir(folder);
  const refused = planRun({ ...none, ...mistake() });
  await expect(refused).rejects.toMatchObject({
    status: exitStatus.usage,
    message: expect.stringMatching(message),
  });
  expect(await readdir(folder)).toEqual(before);
});
