import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Qmp } from './qmp.ts';
import { lineReader, socketPair } from './socket-pair.fixture.ts';

let qmp: Qmp;
let theirs: Socket;
let nextLine: () => Promise<string>;

beforeEach(async () => {
  const pair = await socketPair();
  theirs = pair.theirs;
  nextLine = lineReader(theirs);
  const started = Qmp.start(pair.ours);
  theirs.write('{"QMP":{"version":{}}}\r\n');
  expect(JSON.parse(await nextLine())).toEqual({ execute: 'qmp_capabilities' });
  theirs.write('{"return":{}}\r\n');
  qmp = await started;
});
afterEach(() => void theirs.destroy());

test('commands are answered in order, events left out', async () => {
  const both = Promise.all([qmp.execute('query-status'), qmp.execute('qom-list', { path: '/' })]);
  expect(JSON.parse(await nextLine())).toEqual({ execute: 'query-status' });
  expect(JSON.parse(await nextLine())).toEqual({ execute: 'qom-list', arguments: { path: '/' } });
  theirs.write('{"return":{"running":true}}\r\n{"event":"RESET"}\r\n{"return":[]}\r\n');
  expect(await both).toEqual([{ running: true }, []]);
});

test('what QEMU cannot do is said in its words', async () => {
  const refused = qmp.execute('nothing');
  theirs.write('{"error":{"class":"CommandNotFound","desc":"not known"}}\n');
  await expect(refused).rejects.toMatchObject({
    code: 'IO_ERROR',
    message: expect.stringContaining('not known'),
  });
});

test.each([
  ['no JSON', 'hello\n'],
  ['no object', '7\n'],
  ['an end', undefined],
])('%s ends the connection', async (_, text) => {
  const waiting = qmp.execute('query-status').catch((error) => error.code);
  if (text === undefined) theirs.destroy();
  else theirs.write(text);
  expect(await waiting).toBe('DEVICE_GONE');
});
