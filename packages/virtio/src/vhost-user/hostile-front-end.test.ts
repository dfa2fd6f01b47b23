import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { type Device, device } from '../device/device.ts';
import { deviceType } from '../spec/device-type.ts';
import { le32, struct } from '../spec/layout.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { VhostUserBackend } from './backend.ts';
import { connect, quiet, RawFrontEnd, type SetUp, userBase } from './front-end.fixture.ts';
import { LentWindow } from './lent-window.ts';
import { frontEndMessages, type MessageForm, payloadBounds } from './messages.ts';
import { u64, VhostUserHeader } from './payloads.ts';
import { protocolFeatureNames } from './protocol.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: { from: 0, every: 1 } },
  config: struct('sample_config', { level: le32, wish: le32 }),
  driverWritable: ['wish'],
});

function sample(hasState: boolean): Device {
  return device(type, {
    queues: { requestq: { count: 2, size: 16 } },
    serve: {
      requestq(chain) {
        const token = chain.readable.u8();
        const answer = (): void => chain.writable.u8(token + 1);
        if (token % 2 === 0) return answer();
        return Promise.resolve().then(answer);
      },
    },
    ...(hasState ? { save: () => 1 } : {}),
  });
}

const names = Object.keys(frontEndMessages);
const formOf = (name: string): MessageForm | undefined =>
  new Map<string, MessageForm>(Object.entries(frontEndMessages)).get(name);

/** Numbers that mean something to somebody. */
const number = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0n, 1n, 2n, 4n, 8n, 0x100n, 0x101n, 0x1000n, 0x2000n, 0x3000n) },
  fc.constantFrom(userBase, userBase + 0x1000n, 2n ** 20n, 0x1_4000_0000n, 0x5_4000_0000n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

/** A message whose fields are anything, and which is mostly of the right size. */
const message = fc
  .record({
    name: fc.constantFrom(...names),
    fields: fc.array(number, { minLength: 12, maxLength: 12 }),
    extra: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: -8, max: 40 })),
    needReply: fc.boolean(),
    descriptors: fc.array(fc.constantFrom('memory', 'event', 'channel', 'lent'), { maxLength: 2 }),
    exact: fc.boolean(),
  })
  .map(({ name, fields, extra, needReply, descriptors, exact }) => {
    const form = formOf(name);
    const [fewest, most] = form === undefined ? [0, 0] : payloadBounds(form);
    const size = Math.max(0, Math.min(fewest + (fewest < most ? Math.abs(extra) : extra), 512));
    const bytes = new Uint8Array(VhostUserHeader.size + size);
    bytes.set(VhostUserHeader.encode({ request: form?.id ?? 0, flags: needReply ? 9 : 1, size }));
    const view = new DataView(bytes.buffer, VhostUserHeader.size);
    for (const [i, { offset, size: width }] of (form?.payload.parts() ?? []).entries()) {
      const value = fields[i % fields.length] ?? 0n;
      for (let at = 0; at < width && offset + width <= size; at++) {
        view.setUint8(offset + at, Number((value >> BigInt(8 * at)) & 0xffn));
      }
    }
    const [few, many] = form?.descriptors ?? [0, 0];
    const kinds = exact ? descriptors.slice(0, many) : descriptors;
    while (exact && kinds.length < few) kinds.push('memory');
    return { name, bytes, kinds };
  });

const setUps = fc.constantFrom<SetUp | undefined>(undefined, {}, { packed: true }, { old: true });

/** The protocol features that a back end offers, all of which are accepted. */
async function begin(front: RawFrontEnd, setUp: SetUp): Promise<void> {
  front.stream.request('GET_PROTOCOL_FEATURES', {});
  const bits = (await front.reply())?.read(u64).u64 ?? 0n;
  front.begin({ ...setUp, protocol: protocolFeatureNames(bits).names });
}

describe('a back end', () => {
  it('outlives whatever a front end says, gives everything back, and serves the next one', async () => {
    const scenario = fc.record({
      setUp: setUps,
      hasState: fc.boolean(),
      messages: fc.array(message, { minLength: 1, maxLength: 20 }),
      kicks: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ setUp, hasState, messages, kicks }) => {
        const host = new InMemoryDescriptors();
        const made = sample(hasState);
        const [near, far] = channelPair();
        let closed = 0;
        const backend = new VhostUserBackend(made, near, host, {
          packedRing,
          windows: [new LentWindow(0, 8192)],
          onClosed: () => closed++,
        });
        const front = new RawFrontEnd(host, far);
        if (setUp !== undefined) {
          await begin(front, setUp);
          front.driver(setUp);
          front.start(setUp);
        }
        for (const { bytes, kinds } of messages) {
          const ends: { close(): void }[] = [];
          const descriptors = kinds.map((kind) => {
            if (kind === 'lent') return front.lent;
            if (kind === 'channel') {
              const { channel, other } = host.createChannel();
              ends.push(channel, other);
              return other;
            }
            const made = kind === 'memory' ? host.createMemory(8192) : host.createEvent();
            ends.push(made);
            return made;
          });
          far.send(bytes, descriptors);
          if (kicks) host.signal(front.kick);
          await quiet();
          for (const end of ends) end.close();
        }
        front.close();
        await quiet();
        expect(backend.closed).toBe(true);
        expect(closed).toBe(1);
        const { open, mapped, watched } = host;
        expect({ open, mapped, watched }).toEqual({ open: 0, mapped: 0, watched: 0 });

        const next = connect(made, host);
        next.front.begin();
        const driver = next.front.driver();
        next.front.start();
        driver.offer([1, 2]);
        await quiet();
        expect(driver.answered()).toHaveLength(2);
        next.front.close();
        await quiet();
        expect(host.open).toBe(0);
      }),
      { numRuns: 400 },
    );
  });
});
