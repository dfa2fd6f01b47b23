import type { Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { socketPair } from '../socket-pair.fixture.ts';
import { packetOf } from './packets.ts';
import { GdbRemote } from './remote.ts';
import { Stub } from './stub.fixture.ts';

let gdb: GdbRemote;
let theirs: Socket;

beforeEach(async () => {
  const pair = await socketPair();
  gdb = new GdbRemote(pair.ours);
  theirs = pair.theirs;
});
afterEach(() => void theirs.destroy());

test('registers have the numbers that their descriptions count', async () => {
  const stub = new Stub(theirs);
  const numbers = await gdb.registers();
  expect(['pswm', 'pswa', 'r15', 'cr0', 'prefix'].map((name) => numbers.get(name))).toEqual([
    0, 1, 17, 18, 34,
  ]);
  stub.set({ mask: 1n, general: { 15: 2n ** 64n - 1n }, prefix: 0x8000n });
  expect(await gdb.readRegister(34)).toBe(0x8000n);
  const all = await gdb.readRegisters();
  expect([all.length, all[0], all[17]]).toEqual([18, 1n, 2n ** 64n - 1n]);
  await gdb.writeRegister(2, -22n);
  expect(stub.general(0)).toBe(2n ** 64n - 22n);
});

test('the processor goes on, stops, and steps', async () => {
  const stub = new Stub(theirs);
  await gdb.insertBreakpoint(0x1234);
  expect([...stub.breakpoints]).toEqual([0x1234]);
  const stopped = gdb.resume();
  await stub.running();
  stub.stop();
  await stopped;
  await gdb.step();
  await gdb.removeBreakpoint(0x1234);
  expect(stub.log).toEqual(['Z0,1234,2', 'c', 's', 'z0,1234,2']);
});

test('what the stub does not do is said', async () => {
  const refused = gdb.insertBreakpoint(0);
  theirs.write(packetOf('E22'));
  await expect(refused).rejects.toMatchObject({ code: 'IO_ERROR', message: expect.stringContaining('E22') });
});

test.each([
  ['what is no packet', 'hello'],
  ['a register of another size', packetOf('00')],
])('%s ends all', async (_what, sent) => {
  const one = gdb.readRegister(0);
  theirs.write(sent);
  await expect(one).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  await expect(gdb.step()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
});

test('a processor that ends while it runs is gone', async () => {
  const stopped = gdb.resume();
  theirs.write(packetOf('W00'));
  await expect(stopped).rejects.toMatchObject({
    code: 'DEVICE_GONE',
    message: expect.stringContaining('W00'),
  });
});

test('when QEMU is gone, so is what was asked', async () => {
  const one = gdb.readRegisters();
  theirs.destroy();
  await expect(one).rejects.toMatchObject({ code: 'DEVICE_GONE' });
});
