import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Descriptor } from './descriptors.ts';
import { InMemoryDescriptors } from './in-memory.ts';
import { type Framing, MessageReader, mostDescriptors } from './message-reader.ts';

/** A header of two bytes: the length of all, and any other. */
const framing: Framing = {
  headerSize: 2,
  lengthOf: (header) => (header.getUint8(0) < 2 ? 'too short' : header.getUint8(0)),
};

class Heard {
  readonly messages: number[][] = [];
  readonly descriptors: (readonly Descriptor[])[] = [];
  readonly broken: string[] = [];
  readonly reader: MessageReader = new MessageReader(framing, {
    message: (bytes, descriptors) => {
      this.messages.push([...bytes]);
      this.descriptors.push(descriptors);
    },
    broken: (why) => void this.broken.push(why),
  });
}

describe('a message reader', () => {
  it('puts together what was cut anywhere', () => {
    const message = fc.uint8Array({ maxLength: 20 }).map((body) => [body.length + 2, 0xaa, ...body]);
    fc.assert(
      fc.property(fc.array(message), fc.array(fc.integer({ min: 1, max: 9 })), (messages, cuts) => {
        const heard = new Heard();
        let rest = Uint8Array.from(messages.flat());
        for (const cut of [...cuts, rest.length]) {
          heard.reader.received(rest.subarray(0, cut), []);
          rest = rest.subarray(cut);
        }
        expect(heard.messages).toEqual(messages);
      }),
    );
  });

  it('gives descriptors to the message of the last byte that they came with', () => {
    const host = new InMemoryDescriptors();
    const [one, two, three] = [host.createEvent(), host.createEvent(), host.createEvent()];
    const heard = new Heard();
    heard.reader.received(Uint8Array.of(2, 0, 3, 0, 0, 4, 0), [one]);
    heard.reader.received(Uint8Array.of(0), [two]);
    heard.reader.received(Uint8Array.of(0), []);
    heard.reader.received(Uint8Array.of(2, 0), [three]);
    expect(heard.descriptors).toEqual([[], [], [one, two], [three]]);
  });

  it('says once what is no message, and closes what came with it and behind it', () => {
    const host = new InMemoryDescriptors();
    const heard = new Heard();
    heard.reader.received(Uint8Array.of(4), [host.createEvent()]);
    heard.reader.received(Uint8Array.of(0, 1, 1, 1), [host.createEvent()]);
    heard.reader.received(Uint8Array.of(0), [host.createEvent()]);
    heard.reader.received(Uint8Array.of(2, 0), [host.createEvent()]);
    expect(heard.broken).toEqual(['too short']);
    expect(heard.messages).toEqual([[4, 0, 1, 1]]);
    for (const descriptor of heard.descriptors.flat()) descriptor.close();
    expect(host.open).toBe(0);
  });

  it('keeps no more descriptors for a message than can come with one', () => {
    const host = new InMemoryDescriptors();
    const heard = new Heard();
    heard.reader.received(Uint8Array.of(9), [host.createEvent()]);
    for (let i = 1; i < mostDescriptors; i++) heard.reader.received(Uint8Array.of(), [host.createEvent()]);
    expect([host.open, heard.broken]).toEqual([mostDescriptors, []]);
    heard.reader.received(Uint8Array.of(1), [host.createEvent()]);
    expect([host.open, heard.broken]).toEqual([
      0,
      [`a message with more than ${mostDescriptors} descriptors`],
    ]);
    heard.reader.received(Uint8Array.of(1), [host.createEvent()]);
    expect([host.open, heard.broken.length]).toEqual([0, 1]);
  });

  it('closes what belongs to a message that never became whole', () => {
    const host = new InMemoryDescriptors();
    const heard = new Heard();
    heard.reader.received(Uint8Array.of(9, 1), [host.createEvent()]);
    heard.reader.stop();
    expect(host.open).toBe(0);
    heard.reader.received(Uint8Array.of(2, 0), []);
    expect(heard.messages).toEqual([]);
  });
});
