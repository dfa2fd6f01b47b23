import { expect, test } from 'vitest';
import { consoleEvent, GuestMessages, instructionLines } from './control.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('time and entropy go before the instruction', () => {
  const lines = instructionLines({ type: 'exec', command: 'echo "ä"\n' }, 1234.9, Uint8Array.of(1, 2));
  expect(Buffer.from(lines).toString()).toBe('time 1234\nseed AQI=\nexec ZWNobyAiw6QiCg==\n');
});

test('a shell is told the size of its terminal', () => {
  const lines = instructionLines({ type: 'shell', columns: 80, rows: 24 }, 0, new Uint8Array(0));
  expect(Buffer.from(lines).toString()).toBe('time 0\nseed \nshell 80 24\n');
});

test('shared folders are mounted before the instruction, and the guest says which are not', () => {
  const mounts = [
    { tag: 'host', readOnly: true },
    { tag: 'a.b-c_1', readOnly: false },
  ];
  const lines = instructionLines({ type: 'exec', command: '' }, 0, new Uint8Array(0), mounts);
  expect(Buffer.from(lines).toString()).toBe('time 0\nseed \nmount host ro\nmount a.b-c_1 rw\nexec \n');
  expect(new GuestMessages().push(bytes('unmounted a.b-c_1\n'))).toEqual([
    { type: 'unmounted', tag: 'a.b-c_1' },
  ]);
});

test('the guest is told for which addresses it need not wait', () => {
  const lines = instructionLines(
    { type: 'exec', command: '' },
    0,
    new Uint8Array(0),
    [],
    ['02:00:00:00:00:0a'],
  );
  expect(Buffer.from(lines).toString()).toBe('time 0\nseed \nunaddressed 02:00:00:00:00:0a\nexec \n');
});

test('messages are found however their bytes arrive', () => {
  const messages = new GuestMessages();
  expect(messages.push(bytes('rea'))).toEqual([]);
  expect(messages.push(bytes('dy\nexit 1'))).toEqual([{ type: 'ready' }]);
  expect(messages.push(bytes('37\n'))).toEqual([{ type: 'exit', status: 137 }]);
});

test('a guest says how large it holds its terminal to be, rows first', () => {
  const [message, wrong] = new GuestMessages().push(bytes('size 24 80\nsize 24\n'));
  expect(message).toEqual({ type: 'size', columns: 80, rows: 24 });
  expect(wrong).toEqual({ type: 'unknown', line: 'size 24' });
});

test('a line that is no message is handed on, and one without end does not fill memory', () => {
  const messages = new GuestMessages();
  expect(messages.push(bytes('exit 1000\nexit\n'))).toEqual([
    { type: 'unknown', line: 'exit 1000' },
    { type: 'unknown', line: 'exit' },
  ]);
  for (let count = 0; count < 100; count++) messages.push(new Uint8Array(10_000).fill(0x78));
  const [message] = messages.push(bytes('\n'));
  expect(message).toEqual({ type: 'unknown', line: 'x'.repeat(4096) });
});

test.each([
  ['[    7.1] reboot: System halted', 'off'],
  ['[    7.1] reboot: Power down', 'off'],
  ['[    7.1] reboot: Restarting system', 'reboot'],
  ['[    7.1] Kernel panic - not syncing: VFS: Unable to mount root fs', 'panic'],
  ['[    7.1] virtio_blk virtio0: 1/0/0 default/read/poll queues', undefined],
])('the kernel saying "%s" means %s', (line, event) => {
  expect(consoleEvent(line)).toBe(event);
});
