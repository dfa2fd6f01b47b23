import { describe, expect, it } from 'vitest';
import { HostError, PeerError } from '../../errors.ts';
import { status } from '../../spec/status.ts';
import type { BlkOptions } from './device.ts';
import { memoryStorage, overlayStorage } from './device.ts';
import { pattern, rawDisk, sameBytes, segments, slowStorage } from './raw-disk.fixture.ts';
import { requestType as T, virtio_blk_lifetime } from './spec-requests.ts';
import type { Storage } from './storage.ts';

const sectors = 64;
const filled = () => memoryStorage(pattern(sectors * 512).slice());

/** Every kind of storage that a request can meet. */
const kinds: readonly [name: string, make: () => Storage][] = [
  ['in memory', filled],
  ['that takes its time', () => slowStorage(filled(), true)],
  ['that is an overlay', () => overlayStorage(filled(), { chunkSize: 1536 })],
];

async function contents(storage: Storage): Promise<Uint8Array> {
  const bytes = new Uint8Array(storage.size);
  await storage.read(0, bytes);
  return bytes;
}

describe.each(kinds)('requests to a disk %s', (_name, make) => {
  const disk = (options: Partial<BlkOptions> = {}) => rawDisk({ storage: make(), ...options });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('IN gives the sectors, and a used length of all that was written', async () => {
    const { request } = await disk();
    const answer = await request({ type: T.IN, sector: 3, answer: 1024 });
    expect(answer).toEqual({
      status: 'OK',
      data: pattern(sectors * 512).subarray(1536, 2560),
      written: 1025,
    });
  });

  it('OUT stores the sectors; the used length is the status alone', async () => {
    const storage = make();
    const { request } = await rawDisk({ storage });
    const data = pattern(1536, 9);
    expect(await request({ type: T.OUT, sector: 61, data })).toMatchObject({ status: 'OK', written: 1 });
    expect((await contents(storage)).subarray(61 * 512)).toEqual(data);
  });

  // @holds 2.7.4.1 device: Basic Facilities of a Virtio Device / Message Framing
  it('does not care how a driver frames its buffers', async () => {
    const { request } = await disk();
    const data = pattern(1024, 5);
    const readableCuts = [1, 3, 9, 10, 700];
    expect(await request({ type: T.OUT, sector: 2, data, readableCuts })).toMatchObject({ status: 'OK' });
    const answer = await request({ type: T.IN, sector: 2, answer: 1024, writableCuts: [511, 1, 300] });
    expect(answer).toEqual({ status: 'OK', data, written: 1025 });
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('ends requests outside the disk, or of broken sectors, with IOERR and does no part of them', async () => {
    const storage = make();
    const { request } = await rawDisk({ storage });
    const before = await contents(storage);
    const failing = [
      { type: T.IN, sector: 63, answer: 1024 },
      { type: T.IN, sector: 65, answer: 0 },
      { type: T.IN, sector: 2n ** 63n, answer: 512 },
      { type: T.IN, sector: 2n ** 64n - 1n, answer: 1024 },
      { type: T.IN, sector: 0, answer: 511 },
      { type: T.OUT, sector: 63, data: pattern(1024, 2) },
      { type: T.OUT, sector: 2n ** 64n - 1n, data: pattern(512, 2) },
      { type: T.OUT, sector: 0, data: pattern(700, 2) },
    ];
    for (const raw of failing) {
      const answer = await request(raw);
      const length = raw.answer ?? 0;
      expect(answer).toEqual({ status: 'IOERR', data: new Uint8Array(length), written: length + 1 });
    }
    expect(sameBytes(await contents(storage), before)).toBe(true);
  });

  it('takes requests without data for what they are', async () => {
    const { request } = await disk();
    expect(await request({ type: T.IN, sector: 64 })).toMatchObject({ status: 'OK', written: 1 });
    expect(await request({ type: T.OUT, sector: 64 })).toMatchObject({ status: 'OK', written: 1 });
  });

  it('answers what it does not know with UNSUPP, up to the last byte', async () => {
    const { request } = await disk();
    for (const type of [2, 3, 5, 6, 7, 9, 12, 17, 27, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const answer = await request({ type, answer: 40, data: pattern(20) });
      expect(answer).toEqual({ status: 'UNSUPP', data: new Uint8Array(40), written: 41 });
    }
  });

  it('FLUSH ends with OK, whatever comes with it', async () => {
    const { request } = await disk();
    expect(await request({ type: T.FLUSH })).toMatchObject({ status: 'OK', written: 1 });
    const odd = await request({ type: T.FLUSH, sector: 9, data: pattern(3), answer: 5 });
    expect(odd).toEqual({ status: 'OK', data: new Uint8Array(5), written: 6 });
  });

  it('GET_ID gives 20 bytes padded with NUL, or all 20', async () => {
    const { request } = await disk({ id: 'a disk' });
    const answer = await request({ type: T.GET_ID, answer: 20 });
    expect(answer).toMatchObject({ status: 'OK', written: 21 });
    expect(String.fromCharCode(...answer.data)).toBe(`a disk${'\0'.repeat(14)}`);
    expect((await request({ type: T.GET_ID, answer: 19 })).status).toBe('IOERR');
    const full = await disk({ id: 'exactly-20-bytes-id!' });
    const whole = await full.request({ type: T.GET_ID, answer: 20 });
    expect(String.fromCharCode(...whole.data)).toBe('exactly-20-bytes-id!');
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('WRITE_ZEROES makes ranges read as 0, with unmap and without', async () => {
    const storage = make();
    const { request } = await rawDisk({ storage });
    const data = segments([1, 2], [10, 40, 1], [63, 1], [5, 0]);
    expect((await request({ type: T.WRITE_ZEROES, data })).status).toBe('OK');
    const expected = pattern(sectors * 512).slice();
    for (const [sector, count] of [
      [1, 2],
      [10, 40],
      [63, 1],
    ] as const) {
      expected.fill(0, sector * 512, (sector + count) * 512);
    }
    expect(sameBytes(await contents(storage), expected)).toBe(true);
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('refuses unknown flags, and unmap where it has no place, with UNSUPP', async () => {
    const storage = make();
    const { request } = await rawDisk({ storage: { ...plain(storage), discard() {}, secureErase() {} } });
    const before = await contents(storage);
    for (const type of [T.DISCARD, T.WRITE_ZEROES, T.SECURE_ERASE]) {
      for (const flags of [2, 0x80000000, 3]) {
        const data = segments([0, 1], [1, 1, flags]);
        expect((await request({ type, data })).status).toBe('UNSUPP');
      }
    }
    expect((await request({ type: T.DISCARD, data: segments([0, 1, 1]) })).status).toBe('UNSUPP');
    expect((await request({ type: T.SECURE_ERASE, data: segments([0, 1, 1]) })).status).toBe('UNSUPP');
    expect(sameBytes(await contents(storage), before)).toBe(true);
  });

  it('checks all ranges before it touches the first', async () => {
    const storage = make();
    const limits = { maxSectors: 8, maxSegments: 3 };
    const { request } = await rawDisk({ storage, discard: limits, writeZeroes: limits });
    const before = await contents(storage);
    const failing = [
      segments([0, 1], [64, 1]),
      segments([0, 1], [60, 5]),
      segments([0, 1], [2n ** 64n - 1n, 2]),
      segments([0, 1], [0, 9]),
      segments([0, 1], [1, 1], [2, 1], [3, 1]),
      segments([0, 1]).subarray(0, 15),
      new Uint8Array(0),
    ];
    for (const type of [T.DISCARD, T.WRITE_ZEROES]) {
      for (const data of failing) expect((await request({ type, data })).status).toBe('IOERR');
    }
    expect(sameBytes(await contents(storage), before)).toBe(true);
    expect((await request({ type: T.DISCARD, data: segments([0, 8], [8, 8], [56, 8]) })).status).toBe('OK');
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('fails every change of a read-only disk, and changes nothing', async () => {
    const storage = make();
    const { request, device } = await rawDisk({ storage, readOnly: true });
    const before = await contents(storage);
    expect(device.behaviour.offers).toContain('RO');
    expect((await request({ type: T.OUT, data: pattern(512, 3) })).status).toBe('IOERR');
    for (const type of [T.DISCARD, T.WRITE_ZEROES, T.SECURE_ERASE]) {
      expect((await request({ type, data: segments([0, 1]) })).status).toBe('UNSUPP');
    }
    expect((await request({ type: T.IN, answer: 512 })).data).toEqual(before.subarray(0, 512));
    expect(sameBytes(await contents(storage), before)).toBe(true);
  });

  it('answers commands whose feature was not negotiated with UNSUPP', async () => {
    const { request } = await rawDisk(
      { storage: make(), lifetime: () => ({ preEolInfo: 1, estimateA: 1, estimateB: 1 }) },
      { without: ['FLUSH', 'CONFIG_WCE', 'DISCARD', 'WRITE_ZEROES', 'LIFETIME', 'SECURE_ERASE'] },
    );
    for (const type of [T.FLUSH, T.GET_LIFETIME, T.DISCARD, T.WRITE_ZEROES, T.SECURE_ERASE]) {
      expect((await request({ type, data: segments([0, 1]), answer: 6 })).status).toBe('UNSUPP');
    }
    for (const type of [15, 16, 18, 20, 22, 24, 26]) {
      expect((await request({ type, answer: 128 })).status).toBe('UNSUPP');
    }
  });

  it('breaks the queue of a driver that leaves no room for header or status, until a reset', async () => {
    for (const [readable, writable] of [
      [15, 1],
      [16, 0],
      [0, 1],
    ] as const) {
      const { submit, transport, errors, reopen, request } = await disk();
      const element = (length: number) => ({
        address: transport.allocator.allocate(Math.max(1, length)),
        length,
      });
      const broken = submit(readable ? [element(readable)] : [], writable ? [element(writable)] : []);
      await expect(broken).rejects.toThrow();
      expect(errors[0]).toBeInstanceOf(PeerError);
      expect(errors[0]).toMatchObject({ clause: 'driver: Device Types / Block Device / Device Operation' });
      expect((await transport.readStatus()) & status.DEVICE_NEEDS_RESET).not.toBe(0);
      await reopen();
      expect((await request({ type: T.IN, answer: 512 })).status).toBe('OK');
    }
  });
});

describe('requests', () => {
  it('GET_LIFETIME never sends a reserved value', async () => {
    const lifetimes = [
      { preEolInfo: 2, estimateA: 11, estimateB: 0 },
      { preEolInfo: 4, estimateA: 12, estimateB: Number.NaN },
    ];
    const { request } = await rawDisk({
      storage: filled(),
      lifetime: () => lifetimes.shift() ?? { preEolInfo: 0, estimateA: 0, estimateB: 0 },
    });
    const ask = async () => {
      const { data } = await request({ type: T.GET_LIFETIME, answer: 6 });
      return Object.values(virtio_blk_lifetime.read(new DataView(data.slice().buffer)));
    };
    expect(await ask()).toEqual([2, 11, 0]);
    expect(await ask()).toEqual([0, 0, 0]);
    expect((await request({ type: T.GET_LIFETIME, answer: 5 })).status).toBe('IOERR');
  });

  it('SECURE_ERASE reaches the storage, and is not offered where the storage has none', async () => {
    const storage = filled();
    const { request } = await rawDisk({ storage });
    expect((await request({ type: T.SECURE_ERASE, data: segments([2, 3]) })).status).toBe('OK');
    expect(storage.bytes.subarray(1024, 2560)).toEqual(new Uint8Array(1536));
    const { device } = await rawDisk({ storage: overlayStorage(filled()) });
    expect(device.behaviour.offers).not.toContain('SECURE_ERASE');
  });

  it('reports why a request failed beneath it, shows no data of it, and goes on', async () => {
    const reported: HostError[] = [];
    const base = filled();
    const storage = slowStorage(base);
    const { request } = await rawDisk({ storage, onError: (error) => void reported.push(error) });
    const failing = request({ type: T.IN, answer: 1024 });
    await storage.step(new Error('the medium is bad'));
    expect(await failing).toEqual({ status: 'IOERR', data: new Uint8Array(1024), written: 1025 });
    const full = request({ type: T.OUT, data: pattern(512, 4) });
    await storage.step(new HostError('NO_SPACE', 'no space'));
    expect((await full).status).toBe('IOERR');
    expect(reported.map(({ code }) => code)).toEqual(['IO_ERROR', 'NO_SPACE']);
    storage.release();
    expect((await request({ type: T.IN, answer: 512 })).status).toBe('OK');
  });

  it('writes zeroes itself over a storage that has no way of its own', async () => {
    const { bytes, ...rest } = filled();
    const storage: Storage = { ...plain({ ...rest }), size: bytes.length };
    const { request, device } = await rawDisk({ storage });
    expect(device.behaviour.offers).not.toContain('DISCARD');
    expect((await request({ type: T.WRITE_ZEROES, data: segments([1, 3, 1]) })).status).toBe('OK');
    expect(bytes.subarray(512, 2048)).toEqual(new Uint8Array(1536));
  });
});

/** Only what every storage has. */
function plain(storage: Storage): Storage {
  return {
    size: storage.size,
    immediate: storage.immediate,
    readOnly: false,
    read: (offset, target) => storage.read(offset, target),
    write: (offset, source) => storage.write(offset, source),
    flush: () => storage.flush(),
  };
}
