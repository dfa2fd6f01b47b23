import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import type { VirtioError } from '../errors.ts';
import { type MessageListener, MessageStream, type ReceivedMessage } from './message-stream.ts';
import { backEndMessages, frontEndMessages, type MessageForms } from './messages.ts';
import { u64, VhostUserHeader, VhostUserMemory, vhost_vring_addr } from './payloads.ts';
import { protocolFeatureBits, protocolFeatureNames } from './protocol.ts';

interface Heard {
  readonly names: string[];
  readonly messages: ReceivedMessage[];
  over: VirtioError | 'quietly' | undefined;
}

function listening(during: (message: ReceivedMessage) => void | Promise<void> = () => {}): {
  readonly heard: Heard;
  readonly listener: MessageListener;
} {
  const heard: Heard = { names: [], messages: [], over: undefined };
  const listener: MessageListener = {
    received(message) {
      heard.names.push(message.name);
      heard.messages.push(message);
      return during(message);
    },
    closed(error) {
      heard.over = error ?? 'quietly';
    },
  };
  return { heard, listener };
}

function backEnd(during?: (message: ReceivedMessage) => void | Promise<void>): {
  readonly heard: Heard;
  readonly stream: MessageStream<typeof frontEndMessages>;
  readonly peer: Channel;
} {
  const [near, peer] = channelPair();
  const { heard, listener } = listening(during);
  return { heard, stream: new MessageStream(near, frontEndMessages, 'requests', listener), peer };
}

const raw = (request: number, flags: number, size: number, payload = size): Uint8Array => {
  const message = new Uint8Array(VhostUserHeader.size + payload);
  message.set(VhostUserHeader.encode({ request, flags, size }));
  return message;
};

/** All that goes on in memory has its turn: it is microtasks, all of which come before this. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('a stream of messages', () => {
  it('carries requests and replies with what they hold', async () => {
    const host = new InMemoryDescriptors();
    const { heard, stream, peer } = backEnd((message) => {
      if (message.name === 'GET_FEATURES') stream.reply('GET_FEATURES', { u64: 7n });
      else if (message.needReply) stream.acknowledge('SET_OWNER', false);
    });
    const front = listening();
    const frontEnd = new MessageStream(peer, frontEndMessages, 'replies', front.listener);
    const memory = host.createMemory(4096);
    frontEnd.request('GET_FEATURES', {});
    frontEnd.request('SET_OWNER', {}, { needReply: true });
    const region = { guest_phys_addr: 0n, memory_size: 4096n, userspace_addr: 5n, mmap_offset: 0n };
    frontEnd.request('SET_MEM_TABLE', { nregions: 1, regions: [region] }, { descriptors: [memory] });
    await vi.waitFor(() => expect(heard.names).toHaveLength(3));
    await vi.waitFor(() => expect(front.heard.names).toEqual(['GET_FEATURES', 'SET_OWNER']));
    expect(front.heard.messages.map((message) => message.read(u64).u64)).toEqual([7n, 1n]);
    expect(heard.messages[2]?.read(VhostUserMemory)).toEqual({ nregions: 1, padding: 0, regions: [region] });
    memory.close();
    expect(host.open).toBe(0);
  });

  it('gives descriptors to the message that they came with, however the bytes are cut', async () => {
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 20 + 11 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(cuts, async (given) => {
        const host = new InMemoryDescriptors();
        const taken: number[] = [];
        const { heard, peer } = backEnd((message) => {
          taken.push(message.descriptors);
          message.take()?.close();
        });
        const event = host.createEvent();
        // A message without descriptors lies in front of the one that has one, as one system call may read them.
        const bytes = [...raw(3, 1, 0), ...raw(13, 1, 8)];
        const ends = [...given.sort((a, b) => a - b), bytes.length];
        let start = 0;
        for (const end of ends) {
          const begins = start <= 12 && end > 12;
          peer.send(Uint8Array.from(bytes.slice(start, end)), begins ? [event] : []);
          start = end;
        }
        await quiet();
        expect(heard.names).toEqual(['SET_OWNER', 'SET_VRING_CALL']);
        expect(taken).toEqual([0, 1]);
        event.close();
        expect(host.open).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('hears one message after the other', async () => {
    const order: string[] = [];
    let release: () => void = () => {};
    const { heard, peer } = backEnd(async (message) => {
      order.push(`begin ${message.name}`);
      if (message.name === 'SET_OWNER') await new Promise<void>((resolve) => (release = resolve));
      order.push(`end ${message.name}`);
    });
    peer.send(Uint8Array.from([...raw(3, 1, 0), ...raw(1, 1, 0)]));
    await vi.waitFor(() => expect(order).toEqual(['begin SET_OWNER']));
    release();
    await vi.waitFor(() => expect(order).toHaveLength(4));
    expect(order).toEqual(['begin SET_OWNER', 'end SET_OWNER', 'begin GET_FEATURES', 'end GET_FEATURES']);
    expect(heard.over).toBeUndefined();
  });

  it('hears the end though a message is never done, and nothing that waited behind it', async () => {
    const host = new InMemoryDescriptors();
    const order: string[] = [];
    const { heard, peer } = backEnd((message) => {
      order.push(message.name);
      return message.name === 'GET_VRING_BASE' ? new Promise(() => {}) : undefined;
    });
    const event = host.createEvent();
    peer.send(Uint8Array.from([...raw(3, 1, 0), ...raw(11, 1, 8)]));
    peer.send(raw(13, 1, 8), [event]);
    peer.close();
    await vi.waitFor(() => expect(heard.over).toBe('quietly'));
    expect(order).toEqual(['SET_OWNER', 'GET_VRING_BASE']);
    event.close();
    expect(host.open).toBe(0);
  });

  const mistakes: readonly (readonly [what: string, bytes: Uint8Array, descriptors: number, says: RegExp])[] =
    [
      ['an unknown message', raw(99, 1, 0), 0, /no message 99/],
      ['another version', raw(3, 2, 0), 0, /version 2/],
      ['a reply where a request is due', raw(3, 5, 0), 0, /as a reply/],
      ['a payload that is too short', raw(2, 1, 7), 0, /7 bytes of payload, not 8/],
      ['a payload that is too long', raw(2, 1, 9), 0, /9 bytes of payload, not 8/],
      ['a payload without end', raw(5, 1, 0xffff_ffff, 0), 1, /not 8 to 264/],
      ['a descriptor too many', raw(3, 1, 0), 1, /1 descriptors, not 0/],
      ['a descriptor too few', raw(21, 1, 0), 0, /0 descriptors, not 1/],
      ['nine descriptors', raw(5, 1, 8), 9, /9 descriptors, not 0 to 8/],
    ];
  it.each(mistakes)('ends the connection on %s', async (_what, bytes, count, says) => {
    const host = new InMemoryDescriptors();
    const { heard, peer, stream } = backEnd();
    const descriptors = Array.from({ length: count }, () => host.createEvent());
    peer.send(bytes, descriptors);
    await vi.waitFor(() => expect(heard.over).toBeDefined());
    expect(heard.over).toMatchObject({ code: 'BAD_MESSAGE', message: expect.stringMatching(says) });
    expect(stream.closed).toBe(true);
    for (const descriptor of descriptors) descriptor.close();
    expect(host.open).toBe(0);
  });

  it('ends it on descriptors in the middle of a message, and on an end there', async () => {
    const host = new InMemoryDescriptors();
    const event = host.createEvent();
    const middle = backEnd();
    middle.peer.send(raw(13, 1, 8).subarray(0, 3), [event]);
    middle.peer.send(raw(13, 1, 8).subarray(3), [event]);
    await vi.waitFor(() => expect(middle.heard.over).toMatchObject({ code: 'BAD_MESSAGE' }));
    const end = backEnd();
    end.peer.send(raw(13, 1, 8).subarray(0, 15), [event]);
    end.peer.close();
    await vi.waitFor(() =>
      expect(end.heard.over).toMatchObject({ message: expect.stringMatching(/middle/) }),
    );
    event.close();
    expect(host.open).toBe(0);
  });

  it('ends it when too much waits for a message that is worked on', async () => {
    const { heard, peer } = backEnd(() => new Promise(() => {}));
    for (let i = 0; i < 6000 && heard.over === undefined; i++) peer.send(raw(3, 1, 0));
    await vi.waitFor(() => expect(heard.over).toMatchObject({ code: 'BAD_MESSAGE' }));
  });

  it('ends it when a handler fails', async () => {
    const { heard, peer } = backEnd(async () => {
      throw new Error('no disk');
    });
    peer.send(raw(3, 1, 0));
    await vi.waitFor(() => expect(heard.over).toMatchObject({ code: 'IO_ERROR' }));
  });

  it('survives whatever comes, and leaves nothing open', async () => {
    const chunk = fc.record({
      bytes: fc.uint8Array({ maxLength: 64 }),
      descriptors: fc.integer({ min: 0, max: 3 }),
    });
    const plausible = fc
      .record({
        request: fc.integer({ min: 0, max: 45 }),
        flags: fc.constantFrom(0, 1, 1, 1, 5, 9),
        size: fc.constantFrom(0, 4, 8, 12, 16, 24, 40, 264, 5000),
        descriptors: fc.integer({ min: 0, max: 9 }),
      })
      .map(({ request, flags, size, descriptors }) => ({ bytes: raw(request, flags, size), descriptors }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(chunk, plausible), { maxLength: 12 }), async (sent) => {
        const host = new InMemoryDescriptors();
        const { heard, peer } = backEnd();
        for (const { bytes, descriptors } of sent) {
          const given = Array.from({ length: descriptors }, () => host.createEvent());
          peer.send(bytes, given);
          for (const descriptor of given) descriptor.close();
        }
        peer.close();
        await quiet();
        expect(heard.over).toBeDefined();
        expect(host.open).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

describe('the tables', () => {
  const tables: readonly (readonly [side: string, forms: MessageForms])[] = [
    ['front end', frontEndMessages],
    ['back end', backEndMessages],
  ];
  it.each(tables)('have each id of the %s once', (_side, forms) => {
    const ids = Object.values(forms).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('lay payloads out as C does', () => {
    expect(vhost_vring_addr.size).toBe(40);
    expect(VhostUserMemory.size).toBe(8);
  });

  it('know protocol features by name', () => {
    const bits = protocolFeatureBits(['MQ', 'CONFIG', 'SHMEM']);
    expect(bits).toBe(0x40_0201n);
    expect(protocolFeatureNames(bits | (1n << 63n))).toEqual({
      names: ['MQ', 'CONFIG', 'SHMEM'],
      unknown: 1n << 63n,
    });
  });
});
