import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Qtest } from './qtest.ts';
import { lineReader, socketPair } from './socket-pair.fixture.ts';

let qtest: Qtest;
let theirs: Socket;
let nextLine: () => Promise<string>;

beforeEach(async () => {
  const pair = await socketPair();
  qtest = new Qtest(pair.ours);
  theirs = pair.theirs;
  nextLine = lineReader(theirs);
});
afterEach(() => void theirs.destroy());

test('requests are sent at once and their replies come in order, interrupts between them', async () => {
  const lines: [number, boolean][] = [];
  qtest.onInterrupt = (line, level) => void lines.push([line, level]);
  const replies = Promise.all([
    qtest.in(0xcfc, 2),
    qtest.out(0x80, 1, 0xff),
    qtest.read(0xfee0_0000, 4),
    qtest.write(0x1000, 4, 0xffff_ffff),
    qtest.read64(8),
    qtest.write64(8, 2n ** 63n),
    qtest.readBlock(0x2000, 3),
    qtest.writeBlock(0x2000, Uint8Array.of(1, 2, 3)),
  ]);
  const sent: string[] = [];
  for (let n = 0; n < 8; n++) sent.push(await nextLine());
  expect(sent).toEqual([
    'inw 0xcfc',
    'outb 0x80 0xff',
    'readl 0xfee00000',
    'writel 0x1000 0xffffffff',
    'readq 0x8',
    'writeq 0x8 0x8000000000000000',
    'b64read 0x2000 3',
    'b64write 0x2000 3 AQID',
  ]);
  theirs.write('OK 0x1af4\nIRQ raise 11\nOK\nOK 0x0000000012345678\nO');
  theirs.write('K\nOK 0xffffffffffffffff\nOK\nIRQ lower 11\nOK AQID\nOK\n');
  const [port, , memory, , wide, , block] = await replies;
  expect([port, memory, wide, block]).toEqual([0x1af4, 0x1234_5678, 2n ** 64n - 1n, Uint8Array.of(1, 2, 3)]);
  expect(lines).toEqual([
    [11, true],
    [11, false],
  ]);
});

test('what QEMU cannot do is said in its words, and the next request goes on', async () => {
  const refused = qtest.interceptInterrupts('nothing');
  const fine = qtest.in(0, 1);
  theirs.write('FAIL Unknown device\nOK 0x7\n');
  await expect(refused).rejects.toMatchObject({
    code: 'IO_ERROR',
    message: expect.stringContaining('Unknown device'),
  });
  expect(await fine).toBe(7);
});

test.each([
  ['an answer that is none', 'HELLO\n'],
  ['a number that is none', 'OK 12\n'],
  ['a line without end', `OK ${'0'.repeat(1 << 20)}`],
  ['more answers than questions', 'OK 0x1\nOK\n'],
])('%s ends the connection', async (_, text) => {
  const first = qtest.in(0, 1).catch((error: unknown) => error);
  await nextLine();
  theirs.write(text);
  await first;
  await expect.poll(() => qtest.in(0, 1).catch((error) => error.code)).toBe('DEVICE_GONE');
});

test('every request rejects when QEMU is gone', async () => {
  const waiting = [qtest.in(0, 1), qtest.readBlock(0, 100_000)];
  const settled = Promise.allSettled(waiting);
  theirs.destroy();
  for (const one of await settled) expect(one).toMatchObject({ reason: { code: 'DEVICE_GONE' } });
  await expect(qtest.out(0, 1, 0)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
});
