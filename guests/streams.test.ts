import { randomBytes } from 'node:crypto';
import { stderrPort, stdinPort } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Machine } from './v86-machine.ts';

let machine: Machine;
const errors: Uint8Array[] = [];

beforeAll(async () => {
  machine = await Machine.boot({
    ports: [{ name: stdinPort }, { name: stderrPort, onData: (bytes) => void errors.push(bytes.slice()) }],
  });
});
afterAll(() => machine.stop());

test('a command reads its standard input to the end, unchanged', async () => {
  const input = randomBytes(100_000);
  const port = machine.console.port(stdinPort);
  const ended = machine.exec('cat');
  await port.write(input);
  port.close();
  const { status, output } = await ended;
  expect(status).toBe(0);
  expect(output.equals(input)).toBe(true);
});

test('standard error stays apart from standard output', async () => {
  const { output } = await machine.exec('echo out; echo err >&2');
  expect(output.toString()).toBe('out\n');
  expect(Buffer.concat(errors).toString()).toBe('err\n');
});
