import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TraceEvent } from 'virtio/device';
import { entropyDevice } from 'virtio/devices/entropy';
import { HostError, PeerError } from 'virtio/errors';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TraceWriter } from './trace-writer.ts';

const devices = [{ name: 'entropy', device: entropyDevice({ source: (target) => target.fill(7) }) }];

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-trace-'));
  path = join(folder, 'trace');
});

afterEach(() => rm(folder, { recursive: true }));

async function lines(): Promise<Record<string, unknown>[]> {
  const text = await readFile(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

it('begins with a header that names the devices, their features and queues', async () => {
  new TraceWriter(path, devices, 'pci').close();
  const [header, ...rest] = await lines();
  expect(rest).toEqual([]);
  expect(header).toMatchObject({
    schema: 1,
    virtio: '1.4',
    transport: 'pci',
    devices: [{ name: 'entropy', id: 4, type: 'entropy', queues: ['requestq'] }],
  });
  expect(header?.devices).toMatchObject([{ features: expect.arrayContaining(['VERSION_1', 'RING_PACKED']) }]);
});

it('writes each event with its names, the device and a time that never goes back', async () => {
  const writer = new TraceWriter(path, devices, 'pci');
  const trace = writer.tracer('entropy');
  const events: TraceEvent[] = [
    { kind: 'status', value: 0b1011 },
    { kind: 'notify', queue: 'requestq' },
    {
      kind: 'chain',
      queue: 'requestq',
      id: 3,
      readable: 0,
      writable: 64,
      elements: [{ address: 4096, length: 64, writable: true }],
    },
    { kind: 'violation', error: new PeerError('BAD_REQUEST', 'no such request') },
  ];
  for (const event of events) trace(event);
  writer.close();
  const [, ...written] = await lines();
  expect(written).toMatchObject([
    { device: 'entropy', event: 'status', value: 11, names: ['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK'] },
    { event: 'notify', queue: 'requestq' },
    { event: 'chain', queue: 'requestq', id: 3, readable: 0, writable: 64 },
    { event: 'violation', code: 'BAD_REQUEST', message: 'no such request' },
  ]);
  const times = written.map(({ t }) => Number(t));
  expect(times).toEqual([...times].sort((a, b) => a - b));
});

it('has every event in the file, however many', async () => {
  const writer = new TraceWriter(path, devices, 'pci');
  const trace = writer.tracer('entropy');
  for (let id = 0; id < 10_000; id++) trace({ kind: 'complete', queue: 'requestq', id, written: 1 });
  writer.close();
  const [, ...written] = await lines();
  expect(written.map(({ id }) => id)).toEqual(Array.from({ length: 10_000 }, (_, id) => id));
});

it('says why it ended early, and throws nothing at the device', () => {
  // This file takes nothing, ever.
  const writer = new TraceWriter('/dev/full', devices, 'pci');
  const trace = writer.tracer('entropy');
  for (let id = 0; id < 10_000; id++) trace({ kind: 'complete', queue: 'requestq', id, written: 1 });
  writer.close();
  expect(writer.error).toMatchObject({ code: 'IO_ERROR', message: 'cannot write the trace /dev/full' });
});

it('refuses a file that cannot be made', () => {
  expect(() => new TraceWriter(join(folder, 'no', 'trace'), devices, 'pci')).toThrow(HostError);
});
