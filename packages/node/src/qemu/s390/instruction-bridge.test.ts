import { entropyDevice } from 'virtio/devices/entropy';
import { GuestMemory } from 'virtio/memory';
import { schib } from 'virtio/transports/ccw';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GdbRemote } from '../gdb/remote.ts';
import { Stub } from '../gdb/stub.fixture.ts';
import { socketPair } from '../socket-pair.fixture.ts';
import { InstructionBridge } from './instruction-bridge.ts';
import { assigned, Lowcore, pswMask } from './lowcore.ts';
import { Processor } from './processor.ts';

const prefix = 0x4000n;
const operand = 0x9000;
const kernelPsw = 0x0704_c001_8000_0000n;
const restartNew = { mask: 0x180000000n, address: 0xf000n };
const ioNew = { mask: 0x0404_0001_8000_0000n, address: 0xf100n };
const programNew = { mask: 0x0404_0001_8000_0000n, address: 0xf200n };
const interrupted = { mask: 0x0706_c001_8000_0000n, address: 0x1234n };
const conditionOf = (mask: bigint): number => Number((mask >> 44n) & 3n);

/** A program of I/O instructions, each followed by `ipm`, with the operand in register 2. */
const program = {
  start: 0xa000,
  STSCH: 0xa000,
  SSCH: 0xa008,
  TSCH: 0xa010,
  MSCH: 0xa018,
  TPI: 0xa020,
  HSCH: 0xa028,
  DIAGNOSE: 0xa030,
} as const;
const code =
  'b2342000b2220000b2332000b2220000b2352000b2220000b2322000b2220000b2362000b2220000b2310000b222000083240500b2220000';

const ours = 0x1_0002n;
const others = 0x1_0001n;

let memory: GuestMemory;
let stub: Stub;
let bridge: InstructionBridge;
let lowcore: Lowcore;
let restarts: number;
let close: () => void;
let ended: Promise<Error>;

beforeEach(async () => {
  const { ours: socket, theirs } = await socketPair();
  close = () => theirs.destroy();
  memory = GuestMemory.ofSize(0x2_0000);
  memory.write(program.start, Buffer.from(code, 'hex'));
  stub = new Stub(theirs);
  stub.set({ prefix, control: { 6: 0xff00_0000n } });
  lowcore = new Lowcore(memory, prefix);
  lowcore.setPsw(assigned.RESTART_NEW, restartNew);
  lowcore.setPsw(assigned.IO_NEW, ioNew);
  lowcore.setPsw(assigned.PROGRAM_NEW, programNew);
  restarts = 0;
  const processor = await Processor.attach(new GdbRemote(socket), memory);
  bridge = new InstructionBridge({
    memory,
    processor,
    restart: async () => void restarts++,
    firstSubchannel: 2,
  });
  bridge.subsystem.add(entropyDevice({ source: (bytes) => bytes.fill(7) }), { subchannel: 2, devno: 0x1000 });
  expect(await bridge.watch(program.start, 0xb000)).toBe(7);
  ended = bridge.run().catch((error: Error) => error);
  await stub.running();
});
afterEach(async () => {
  close();
  expect(await ended).toMatchObject({ code: 'DEVICE_GONE' });
});

interface Stopped {
  readonly schid?: bigint;
  readonly at?: number;
  readonly mask?: bigint;
}

/** Stops at an instruction, and waits until the processor goes on. */
async function issue(
  instruction: Exclude<keyof typeof program, 'start'>,
  { schid = ours, at = operand, mask = kernelPsw & ~pswMask.TRANSLATION }: Stopped = {},
): Promise<void> {
  stub.set({ mask, address: BigInt(program[instruction]), general: { 1: schid, 2: BigInt(at) } });
  stub.stop();
  await stub.running();
}

/** A restart interruption is taken where the program was. */
async function restarted(where = interrupted): Promise<void> {
  lowcore.setPsw(assigned.RESTART_OLD, where);
  stub.set(restartNew);
  stub.stop();
  await stub.running();
}

const flagsAt = schib.field.pmcw.offset + 4;

/** Enables the subchannel, with interruption subclass 3. */
async function enable(): Promise<void> {
  await issue('STSCH');
  memory.write(operand + flagsAt, Uint8Array.of(0x18, 0x81));
  await issue('MSCH');
  expect(conditionOf(stub.psw.mask)).toBe(0);
}

describe('instructions', () => {
  it('for our subchannels are carried out, and stepped over', async () => {
    await issue('STSCH');
    expect(stub.psw.address).toBe(BigInt(program.STSCH + 4));
    expect(conditionOf(stub.psw.mask)).toBe(0);
    expect([...memory.read(operand + flagsAt, 4)]).toEqual([0, 1, 0x10, 0]);
    await issue('STSCH', { schid: ours + 1n });
    expect(conditionOf(stub.psw.mask)).toBe(3);
    expect(stub.log).not.toContain('s');
  });

  it('for others are the processor’s own', async () => {
    await issue('STSCH', { schid: others });
    expect(stub.psw.address).toBe(BigInt(program.STSCH));
    expect(stub.log).toContain('s');
    expect(memory.read(operand, 52).every((byte) => byte === 0)).toBe(true);
  });

  it('find an operand that lies on two pages of virtual memory', async () => {
    const table = 0xc000;
    const entries = new DataView(new ArrayBuffer(16));
    entries.setBigUint64(0, 0xe000n);
    entries.setBigUint64(8, 0x9000n);
    memory.write(table, new Uint8Array(entries.buffer));
    memory.write(0xd000, Uint8Array.of(0, 0, 0, 0, 0, 0, 0xc0, 0));
    // Linux runs in the home space.
    stub.set({ control: { 13: 0xd000n } });
    await issue('STSCH', { at: 0x1000 - 8, mask: kernelPsw });
    expect([...memory.read(0xe000 + 0xff8 + 6, 2)]).toEqual([0x10, 0]);
    expect(memory.read(0x9000, 1)[0]).toBe(0x80);
  });

  it('end with a program interruption when the operand is nowhere', async () => {
    await issue('STSCH', { at: 0x100_0000 });
    expect(stub.psw).toEqual(programNew);
    expect(lowcore.psw(assigned.PROGRAM_OLD).address).toBe(BigInt(program.STSCH + 4));
    expect([...memory.read(Number(prefix) + assigned.PROGRAM_CODE, 4)]).toEqual([0, 4, 0, 5]);
  });
});

describe('hypercalls', () => {
  const notify = async (schid: bigint, subcode = 3n): Promise<void> => {
    stub.set({ address: BigInt(program.DIAGNOSE), general: { 1: subcode, 2: schid, 3: 0n, 4: 0n } });
    stub.stop();
    await stub.running();
  };

  it('give the cookie of our device', async () => {
    await notify(ours);
    expect(stub.general(2)).toBe(1n);
    expect(stub.psw.address).toBe(BigInt(program.DIAGNOSE + 4));
  });

  it('for others, and with another subcode, are the processor’s own', async () => {
    await notify(others);
    await notify(ours, 4n);
    expect(stub.log.filter((one) => one === 's')).toHaveLength(2);
  });
});

describe('interruptions', () => {
  beforeEach(async () => {
    await enable();
    await issue('HSCH');
    expect(restarts).toBe(1);
  });

  it('reach a program that is ready for them', async () => {
    await restarted();
    expect(stub.psw).toEqual(ioNew);
    expect(lowcore.psw(assigned.IO_OLD)).toEqual(interrupted);
    const said = Buffer.from(memory.read(Number(prefix) + assigned.IO_CODE, 12)).toString('hex');
    expect(said).toBe('000100020000000018000000');
    await issue('TSCH');
    expect(conditionOf(stub.psw.mask)).toBe(0);
    expect(restarts).toBe(1);
  });

  it.each([
    ['takes no I/O interruptions', interrupted.mask & ~pswMask.IO, 0xff00_0000n],
    ['takes none of this subclass', interrupted.mask, 0xef00_0000n],
  ])('wait while the program %s, and are tried again', async (_what, mask, subclasses) => {
    stub.set({ control: { 6: subclasses } });
    const where = { ...interrupted, mask };
    await restarted(where);
    expect(stub.psw).toEqual(where);
    await expect.poll(() => restarts).toBe(2);
    stub.set({ control: { 6: 0xff00_0000n } });
    await restarted();
    expect(stub.psw).toEqual(ioNew);
  });

  it('do not come when the program has taken the status by itself', async () => {
    await issue('TSCH');
    await restarted();
    expect(stub.psw).toEqual(interrupted);
    expect(restarts).toBe(1);
  });

  it('are found by a program that asks', async () => {
    await issue('TPI');
    expect(conditionOf(stub.psw.mask)).toBe(1);
    expect(Buffer.from(memory.read(operand, 8)).toString('hex')).toBe('0001000200000000');
    await issue('TPI');
    expect(stub.log).toContain('s');
  });
});

it('a stop at no place of ours ends it', async () => {
  stub.set({ address: 0x6666n });
  stub.stop();
  expect(await ended).toMatchObject({ message: expect.stringContaining('0x6666') });
});
