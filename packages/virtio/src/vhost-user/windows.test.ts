import { describe, expect, it, vi } from 'vitest';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { device } from '../device/device.ts';
import { entropyDevice } from '../devices/entropy/device.ts';
import { openEntropy } from '../devices/entropy/driver.ts';
import { entropy } from '../devices/entropy/spec.ts';
import { UsageError, type VirtioError } from '../errors.ts';
import { VhostUserBackend, type VhostUserBackendOptions } from './backend.ts';
import { connect } from './front-end.fixture.ts';
import { VhostUserTransport } from './frontend.ts';
import { LentWindow } from './lent-window.ts';
import { MessageStream } from './message-stream.ts';
import { backEndMessages } from './messages.ts';
import { u64, VhostUserShMemConfig } from './payloads.ts';
import type { ProtocolFeatureName } from './protocol.ts';
import { type Script, scripted } from './scripted-back-end.fixture.ts';

const page = 4096;
const all: readonly ProtocolFeatureName[] = ['REPLY_ACK', 'BACKEND_REQ', 'CONFIGURE_MEM_SLOTS', 'SHMEM'];

/** A device with a window at one end, its driver at the other. */
async function joined(options: VhostUserBackendOptions = {}, without: readonly ProtocolFeatureName[] = []) {
  const host = new InMemoryDescriptors();
  const window = new LentWindow(3, 16 * page);
  const [near, far] = channelPair();
  const errors: (VirtioError | undefined)[] = [];
  const backend = new VhostUserBackend(entropyDevice({ source: (target) => target.fill(7) }), near, host, {
    windows: [window],
    onClosed: (error) => void errors.push(error),
    ...options,
  });
  const transport = await VhostUserTransport.connect(far, host, { deviceId: 4, memory: 2 ** 20, without });
  return { host, window, backend, transport, errors };
}

describe('a window that is lent', () => {
  it('shows what a back end maps, and hides it again', async () => {
    const { host, window, transport, backend } = await joined();
    const seen = await transport.sharedMemory(3);
    expect([seen?.length, await transport.sharedMemory(0)]).toEqual([16 * page, undefined]);
    const memory = host.createMemory(4 * page);
    host.writeAt(memory, 2 * page, Uint8Array.of(1, 2, 3));
    await window.map({ offset: page, length: 2 * page, descriptor: memory, from: 2 * page, writable: true });
    await window.map({ offset: 3 * page, length: page, descriptor: memory, from: 0, writable: false });
    const target = new Uint8Array(3);
    seen?.read(page, target);
    expect([...target]).toEqual([1, 2, 3]);
    // Over the end of one mapping into the next.
    seen?.write(3 * page - 2, Uint8Array.of(8, 9));
    host.writeAt(memory, 0, Uint8Array.of(10));
    seen?.read(3 * page - 2, target);
    expect([...target]).toEqual([8, 9, 10]);
    expect(() => seen?.write(3 * page, Uint8Array.of(1))).toThrow(/only to be read/);
    expect(() => seen?.read(0, target)).toThrow(/nothing is mapped/);
    await window.unmap(page, 2 * page);
    expect(() => seen?.read(page, target)).toThrow(/nothing is mapped/);
    expect([window.mappings, seen?.mappings]).toEqual([1, 1]);
    memory.close();
    await transport.close();
    await vi.waitFor(() => expect(backend.closed).toBe(true));
    expect([window.attached, window.mappings, seen?.mappings]).toEqual([false, 0, 0]);
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('refuses what cannot be before anybody is asked', async () => {
    const { host, window, transport } = await joined();
    const descriptor = host.createMemory(16 * page);
    const place = { offset: 0, length: page, descriptor, from: 0, writable: true };
    for (const wrong of [
      { offset: 1 },
      { offset: 16 * page },
      { offset: -page },
      { length: 0 },
      { length: 17 * page },
      { length: 100 },
      { from: 5 },
      { from: 2 ** 60 },
    ]) {
      await expect(window.map({ ...place, ...wrong })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    await window.map({ ...place, offset: 4 * page, length: 2 * page });
    for (const offset of [3 * page, 4 * page, 5 * page]) {
      const overlapping = window.map({ ...place, offset, length: 2 * page });
      await expect(overlapping).rejects.toMatchObject({ code: 'BAD_STATE' });
    }
    await expect(window.unmap(4 * page, page)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(window.unmap(0, page)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await window.unmap(4 * page, 2 * page);
    await expect(window.unmap(4 * page, 2 * page)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(() => new LentWindow(256, page)).toThrow(UsageError);
    expect(() => new LentWindow(0, 100)).toThrow(UsageError);
    expect(() => new LentWindow(0, 0)).toThrow(UsageError);
    await transport.close();
  });

  it('loses all that is mapped with a reset', async () => {
    const { host, window, transport } = await joined();
    const opened = await openEntropy(transport);
    const seen = await transport.sharedMemory(3);
    const descriptor = host.createMemory(page);
    await window.map({ offset: 0, length: page, descriptor, from: 0, writable: true });
    await transport.writeStatus(0);
    expect([window.mappings, seen?.mappings]).toEqual([0, 0]);
    await window.map({ offset: 0, length: page, descriptor, from: 0, writable: true });
    expect(seen?.mappings).toBe(1);
    await opened.close();
  });

  it('has no front end where the protocol does not bring one', async () => {
    for (const without of ['SHMEM', 'BACKEND_REQ', 'CONFIGURE_MEM_SLOTS'] as const) {
      const { host, window, transport } = await joined({}, [without]);
      const descriptor = host.createMemory(page);
      const mapped = window.map({ offset: 0, length: page, descriptor, from: 0, writable: true });
      await expect(mapped).rejects.toMatchObject({ code: 'DEVICE_GONE' });
      await transport.close();
    }
  });

  it('takes it for granted that it is mapped where nobody says so', async () => {
    const { host, window, transport } = await joined({}, ['REPLY_ACK']);
    const descriptor = host.createMemory(page);
    await window.map({ offset: 0, length: page, descriptor, from: 0, writable: true });
    await transport.readStatus();
    await vi.waitFor(async () => expect((await transport.sharedMemory(3))?.mappings).toBe(1));
    await transport.close();
  });

  it('is not offered without a window, or by a host that tells no memory apart', async () => {
    const host = new InMemoryDescriptors();
    const source = (target: Uint8Array): unknown => target.fill(7);
    const windows = [new LentWindow(0, page)];
    const poor = {
      map: host.map.bind(host),
      createMemory: host.createMemory.bind(host),
      createEvent: host.createEvent.bind(host),
      signal: host.signal.bind(host),
      watch: host.watch.bind(host),
      openChannel: host.openChannel.bind(host),
      createChannel: host.createChannel.bind(host),
    };
    for (const options of [{}, { windows, lends: poor }, { windows }] as const) {
      const { front } = connect(entropyDevice({ source }), host, options);
      front.stream.request('GET_FEATURES', {});
      await front.reply();
      const offered = await front.askNumber('GET_PROTOCOL_FEATURES');
      expect((offered >> 22n) & 1n).toBe('windows' in options && !('lends' in options) ? 1n : 0n);
      front.close();
    }
    const two = { windows: [new LentWindow(0, page), new LentWindow(0, page)] };
    expect(() => connect(entropyDevice({ source }), host, two)).toThrow(UsageError);
  });
});

describe('a front end that is hostile to a window', () => {
  /** A back end whose own channel ends in this test. */
  async function lent() {
    const window = new LentWindow(0, 4 * page);
    const errors: (VirtioError | undefined)[] = [];
    const made = connect(device(entropy, { serve: { requestq() {} } }), undefined, {
      windows: [window],
      onClosed: (error) => void errors.push(error),
    });
    const { front, host } = made;
    front.begin({ protocol: all });
    const { channel, other } = host.createChannel();
    front.stream.request('SET_BACKEND_REQ_FD', {}, { descriptors: [other] });
    other.close();
    await vi.waitFor(() => expect(window.attached).toBe(true));
    // What answers all of that.
    while ((await front.reply()) !== undefined);
    const heard: string[] = [];
    const stream = new MessageStream(channel, backEndMessages, 'requests', {
      received: (message) => void heard.push(message.name),
      closed() {},
    });
    const descriptor = host.createMemory(page);
    const map = (offset = 0) =>
      window.map({ offset, length: page, descriptor, from: 0, writable: true }).then(
        () => 'mapped',
        (error: VirtioError) => error.code,
      );
    return { ...made, window, stream, heard, map, errors, descriptor };
  }

  it('may refuse', async () => {
    const { map, stream, heard, window } = await lent();
    const mapped = map();
    await vi.waitFor(() => expect(heard).toEqual(['SHMEM_MAP']));
    stream.acknowledge('SHMEM_MAP', false);
    expect([await mapped, window.mappings]).toEqual(['COMMAND_FAILED', 0]);
    const again = map();
    stream.acknowledge('SHMEM_MAP', true);
    expect([await again, window.mappings]).toEqual(['mapped', 1]);
  });

  it('may say what nobody asked: the connection ends', async () => {
    for (const wrong of ['SHMEM_MAP', 'SHMEM_UNMAP'] as const) {
      const { map, stream, errors, window } = await lent();
      const mapped = wrong === 'SHMEM_UNMAP' ? map() : undefined;
      stream.acknowledge(wrong, true);
      await vi.waitFor(() => expect(errors).toMatchObject([{ code: 'BAD_MESSAGE' }]));
      expect([await mapped, window.attached]).toEqual([mapped && 'BAD_MESSAGE', false]);
    }
  });

  it('may hang up, or never answer: what waits ends with the connection', async () => {
    const { map, stream, heard, window, backend } = await lent();
    const mapped = map();
    await vi.waitFor(() => expect(heard).toHaveLength(1));
    stream.close();
    expect([await mapped, window.mappings, backend.closed]).toEqual(['DEVICE_GONE', 0, false]);
    const { map: mapOther, heard: heardOther, backend: other } = await lent();
    const waits = mapOther();
    await vi.waitFor(() => expect(heardOther).toHaveLength(1));
    other.close();
    expect(await waits).toBe('DEVICE_GONE');
  });

  it('has what it mapped behind a reset taken away', async () => {
    const { map, stream, heard, window, front } = await lent();
    const mapped = map();
    await vi.waitFor(() => expect(heard).toEqual(['SHMEM_MAP']));
    window.reset();
    stream.acknowledge('SHMEM_MAP', true);
    expect([await mapped, window.mappings]).toEqual(['DEVICE_GONE', 0]);
    await vi.waitFor(() => expect(heard).toEqual(['SHMEM_MAP', 'SHMEM_UNMAP']));
    front.close();
  });

  it('lends back what is shown, and it is not mapped: it could be cut off', async () => {
    const { map, stream, front, host, descriptor } = await lent();
    const mapped = map();
    stream.acknowledge('SHMEM_MAP', true);
    expect(await mapped).toBe('mapped');
    const before = host.mapped;
    const region = {
      guest_phys_addr: 2n ** 32n,
      memory_size: BigInt(page),
      userspace_addr: 1n << 40n,
      mmap_offset: 0n,
    };
    expect(await front.acknowledged('ADD_MEM_REG', { region }, [descriptor])).toBe(true);
    expect(host.mapped).toBe(before);
    const other = host.createMemory(page);
    const elsewhere = { ...region, guest_phys_addr: 2n ** 33n, userspace_addr: 1n << 41n };
    expect(await front.acknowledged('ADD_MEM_REG', { region: elsewhere }, [other])).toBe(true);
    expect(host.mapped).toBe(before + 1);
    expect(await front.acknowledged('REM_MEM_REG', { region })).toBe(true);
    expect(await front.acknowledged('REM_MEM_REG', { region: elsewhere })).toBe(true);
    expect(host.mapped).toBe(before);
  });
});

describe('a back end that is hostile to a window', () => {
  const sizes = (...memory_sizes: bigint[]): NonNullable<Script['on']> => ({
    GET_SHMEM_CONFIG: (_, backEnd) =>
      backEnd.stream.reply('GET_SHMEM_CONFIG', { nregions: memory_sizes.length, memory_sizes }),
  });

  async function lent(on: NonNullable<Script['on']> = sizes(0n, BigInt(4 * page))) {
    const pair = scripted({ protocol: all, on });
    const transport = await VhostUserTransport.connect(pair.channel, pair.host, {
      deviceId: 4,
      memory: 2 ** 20,
    });
    await vi.waitFor(() => expect(pair.backEnd.heard).toContain('SET_BACKEND_REQ_FD'));
    const answers: bigint[] = [];
    const stream = new MessageStream(
      pair.host.openChannel(pair.backEnd.descriptor('SET_BACKEND_REQ_FD')),
      backEndMessages,
      'replies',
      { received: (message) => void answers.push(message.read(u64).u64), closed() {} },
    );
    const window = await transport.sharedMemory(1);
    return { ...pair, transport, stream, answers, window };
  }

  it('has sizes that cannot be refused', async () => {
    await expect(lent(sizes(1n))).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    await expect(lent(sizes(2n ** 63n))).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    const lies: Script['on'] = {
      GET_SHMEM_CONFIG: (_, backEnd) =>
        backEnd.stream.reply('GET_SHMEM_CONFIG', { nregions: 257, memory_sizes: [] }),
    };
    await expect(lent(lies)).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    const tooLong: Script['on'] = {
      GET_SHMEM_CONFIG: (message, backEnd) => {
        const memory_sizes = Array.from({ length: 257 }, () => 0n);
        backEnd.raw(message.form.id, 4, VhostUserShMemConfig.encode({ nregions: 0, memory_sizes }));
      },
    };
    await expect(lent(tooLong)).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
  });

  it('has mappings that cannot be refused, and leaves no descriptor', async () => {
    const { stream, answers, host, window, transport, backEnd } = await lent();
    const memory = host.createMemory(page);
    const event = host.createEvent();
    const good = { shmid: 1, shm_offset: BigInt(page), len: BigInt(page), flags: 1n };
    const asked = [
      good,
      good,
      { ...good, shm_offset: 0n, len: BigInt(2 * page) },
      { ...good, shmid: 0 },
      { ...good, shmid: 255 },
      { ...good, shm_offset: 0n, len: 0n },
      { ...good, shm_offset: 0n, len: 100n },
      { ...good, shm_offset: 1n },
      { ...good, shm_offset: 0n, fd_offset: 1n },
      { ...good, shm_offset: 0n, fd_offset: 2n ** 64n - BigInt(page) },
      { ...good, shm_offset: 2n ** 64n - BigInt(page) },
      { ...good, shm_offset: BigInt(3 * page), len: BigInt(2 * page) },
      { ...good, shm_offset: 0n, flags: 2n },
      { ...good, shm_offset: 0n, flags: 2n ** 63n },
    ];
    const options = { descriptors: [memory], needReply: true };
    for (const of of asked) stream.request('SHMEM_MAP', of, options);
    stream.request('SHMEM_MAP', { ...good, shm_offset: 0n }, { descriptors: [event], needReply: true });
    await vi.waitFor(() => expect(answers).toHaveLength(asked.length + 1));
    expect(answers).toEqual([0n, ...asked.map(() => 1n)]);
    expect(window?.mappings).toBe(1);
    answers.length = 0;
    const gone = [
      { ...good, shm_offset: 0n },
      { ...good, len: BigInt(2 * page) },
      { ...good, shmid: 2 },
      good,
      good,
    ];
    for (const of of gone) stream.request('SHMEM_UNMAP', of, { needReply: true });
    await vi.waitFor(() => expect(answers).toEqual([1n, 1n, 1n, 0n, 1n]));
    stream.request('SHMEM_MAP', good, options);
    memory.close();
    event.close();
    await transport.close();
    backEnd.drop();
    stream.close();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it.each([0, 2])('ends the connection when a mapping comes with %i descriptors', async (count) => {
    const { stream, host, transport } = await lent();
    const gone = vi.fn();
    transport.listen({ usedBuffer() {}, configChange() {}, gone });
    const memory = host.createMemory(page);
    const descriptors = Array.from({ length: count }, () => memory);
    stream.request('SHMEM_MAP', { shmid: 1, len: BigInt(page) }, { descriptors });
    await vi.waitFor(() => expect(gone).toHaveBeenCalledTimes(1));
    expect(gone.mock.calls[0]?.[0]).toMatchObject({ code: 'BAD_MESSAGE' });
  });

  it('maps memory that is shorter than it says: reading behind its end is an error', async () => {
    const { stream, host, answers, window } = await lent();
    const memory = host.createMemory(100);
    const of = { shmid: 1, len: BigInt(page), flags: 1n };
    stream.request('SHMEM_MAP', of, { descriptors: [memory], needReply: true });
    await vi.waitFor(() => expect(answers).toEqual([0n]));
    window?.read(0, new Uint8Array(100));
    expect(() => window?.read(0, new Uint8Array(101))).toThrow(/cut off/);
    expect(() => window?.write(90, new Uint8Array(20))).toThrow(/fewer than are written/);
  });

  it('bounds how many mappings there are', async () => {
    const { stream, host, answers, window } = await lent(sizes(0n, BigInt(2000 * page)));
    const memory = host.createMemory(page);
    for (let i = 0; i < 1025; i++) {
      const of = { shmid: 1, shm_offset: BigInt(i * page), len: BigInt(page) };
      stream.request('SHMEM_MAP', of, { descriptors: [memory], needReply: true });
      if (i % 64 === 0) await vi.waitFor(() => expect(answers.length).toBe(i + 1));
    }
    await vi.waitFor(() => expect(answers).toHaveLength(1025));
    expect([answers.at(-2), answers.at(-1), window?.mappings]).toEqual([0n, 1n, 1024]);
  });
});
