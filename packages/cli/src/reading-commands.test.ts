import { hasUring } from 'virtio-node/storage';
import { expect, it } from 'vitest';
import { clausesCommand } from './clauses.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { exitStatus } from './exit-status.ts';
import { listCommand } from './list.ts';
import type { Output } from './output.ts';

/** An output that remembers what was written to it. */
function capture(): Output & { text: () => string } {
  let text = '';
  return {
    out: (piece) => {
      text += piece;
    },
    err: (piece) => expect.unreachable(`on stderr: ${piece}`),
    colour: false,
    text: () => text,
  };
}

it('lists each device type by the names of its table', () => {
  const output = capture();
  listCommand(output, { json: true });
  const { schema, types } = JSON.parse(output.text());
  expect(schema).toBe(1);
  expect(types).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        id: 3,
        name: 'console',
        title: 'console',
        sides: ['device', 'driver'],
        queues: expect.arrayContaining([{ name: 'control receiveq', family: false, requires: 'MULTIPORT' }]),
        features: expect.arrayContaining([{ name: 'EMERG_WRITE', bit: 2 }]),
        buses: ['ccw-0', 'ccw-1', 'ccw-2', 'mmio', 'mmio-legacy', 'pci', 'pci-legacy', 'pci-transitional'],
      }),
    ]),
  );
});

it('lists the same for people', () => {
  const output = capture();
  listCommand(output, { json: false });
  expect(output.text()).toMatch(/^blk \(id 2, block device\)\n {2}sides {5}device, driver\n/m);
});

it('knows all 308 clauses, and that the counts add up to them', () => {
  const output = capture();
  clausesCommand(output, { json: true });
  const { summary, clauses } = JSON.parse(output.text());
  expect(clauses).toHaveLength(308);
  expect(Object.values<number>(summary).reduce((sum, count) => sum + count)).toBe(308);
  expect(clauses[0]).toMatchObject({ side: 'driver', number: '2.1.1', tests: expect.anything() });
});

it('prints one line for each clause', () => {
  const output = capture();
  clausesCommand(output, { json: false });
  expect(output.text().split('\n\n')[0]?.split('\n')).toHaveLength(308);
});

it('finds on this machine what these tests run on', async () => {
  const output = capture();
  const status = await doctorCommand(output, { json: true });
  const { canRun, checks } = JSON.parse(output.text());
  const states = new Map(checks.map(({ name, state }: { name: string; state: string }) => [name, state]));
  expect(states.get('node')).toBe('ok');
  expect(states.get('v86')).toBe('ok');
  // A container's rules may forbid it.
  expect(states.get('io_uring')).toBe(hasUring() ? 'ok' : 'optional');
  expect(status).toBe(canRun ? exitStatus.ok : exitStatus.environment);
});
