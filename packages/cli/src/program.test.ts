import { expect, it } from 'vitest';
import { exitStatus } from './exit-status.ts';
import { runProgram } from './program.ts';

interface Heard {
  readonly status: number;
  readonly out: string;
  readonly calls: readonly (readonly [string, unknown])[];
}

/** What the program does with a command line. */
async function hear(...args: string[]): Promise<Heard> {
  const calls: [string, unknown][] = [];
  let out = '';
  const take =
    (name: string, status: number) =>
    async (options: unknown): Promise<number> => {
      calls.push([name, options]);
      return status;
    };
  const onSocket =
    (name: string) =>
    async (...given: unknown[]): Promise<number> => {
      calls.push([name, given]);
      return 0;
    };
  const actions = {
    probe: onSocket('probe'),
    bench: onSocket('bench'),
    run: take('run', 37),
    serve: async (type: string, options: unknown) => take(`serve ${type}`, 0)(options),
    descriptors: take('descriptors', 0),
    list: take('list', 0),
    clauses: take('clauses', 0),
    doctor: take('doctor', 3),
  };
  const status = await runProgram(args, actions, (text) => {
    out += text;
  });
  return { status, out, calls };
}

it('hands the options of run on as they were typed, and its status back', async () => {
  const { status, calls } = await hear('run', '--disk', 'a', '--disk=b,ro', '--exec', 'ls -l', '--json');
  expect(status).toBe(37);
  expect(calls).toEqual([
    [
      'run',
      {
        machine: 'v86',
        disk: ['a', 'b,ro'],
        share: [],
        net: [],
        exec: 'ls -l',
        memory: '256',
        fresh: false,
        json: true,
      },
    ],
  ]);
});

it('hands sockets on with what is to be done there', async () => {
  const probe = await hear('probe', '/run/d.sock', '--type', 'blk');
  expect(probe.calls).toEqual([['probe', ['/run/d.sock', { type: 'blk', json: false }]]]);
  const bench = await hear('bench', 'blk', '@d', '--rw', 'write', '--write-ok');
  const options = { rw: 'write', writeOk: true, bs: '4096', iodepth: '32', seconds: '5', queues: '1' };
  expect(bench.calls).toMatchObject([['bench', ['blk', '@d', options]]]);
});

it('takes what is offered anyway, as with other programs', async () => {
  const offers = async (...args: string[]): Promise<unknown> =>
    (await hear('serve', 'blk', ...args)).calls[0]?.[1];
  expect(await offers()).toMatchObject({ packed: true, eventIdx: true, indirect: true });
  expect(await offers('--packed', '--event-idx')).toMatchObject({
    packed: true,
    eventIdx: true,
    indirect: true,
  });
  expect(await offers('--no-packed')).toMatchObject({ packed: false, eventIdx: true });
});

it('does not carry the disks of one command line into the next', async () => {
  await hear('run', '--disk', 'a');
  const { calls } = await hear('run');
  expect(calls).toMatchObject([['run', { disk: [] }]]);
});

it.each(['list', 'clauses', 'doctor'])('knows %s with and without --json', async (name) => {
  expect((await hear(name)).calls).toEqual([[name, { json: false }]]);
  expect((await hear(name, '--json')).calls).toEqual([[name, { json: true }]]);
});

it.each([
  [['run', '--dsik', 'a'], /unknown option '--dsik' \(Did you mean --disk\?\); see virtio run --help$/],
  [['run', '--disk'], /argument missing; see virtio run --help$/],
  [['run', 'disk.img'], /too many arguments .* got 1; see virtio run --help$/],
  [['rum'], /unknown command 'rum' \(Did you mean run\?\); see virtio --help$/],
  [['list', '--exec', 'x'], /unknown option '--exec'; see virtio list --help$/],
  [['bench', 'blk'], /missing required argument 'SOCKET'; see virtio bench --help$/],
  [[], /no command given; virtio --help lists them$/],
])('answers %j with one line and runs nothing', async (args, message) => {
  const refused = hear(...args);
  await expect(refused).rejects.toMatchObject({
    status: exitStatus.usage,
    message: expect.stringMatching(message),
  });
  await expect(refused).rejects.toMatchObject({ message: expect.not.stringContaining('\n') });
});

it.each([
  'run',
  'serve',
  'descriptors',
  'descriptors install',
  'list',
  'clauses',
  'doctor',
  'probe',
  'bench',
])('shows an example in the help of %s', async (name) => {
  const { status, out, calls } = await hear(...name.split(' '), '--help');
  expect(status).toBe(0);
  expect(out).toMatch(new RegExp(`Usage: virtio ${name}`));
  expect(out).toMatch(/Examples?:\n {2}\S/);
  expect(out).not.toMatch(/default: (false|true|\[)/);
  expect(calls).toEqual([]);
});

it('says its own version and that of the specification', async () => {
  expect((await hear('--version')).out).toMatch(/^virtio-cli \d+\.\d+\.\d+, virtio 1\.4\n$/);
});
