import { describe, expect, it } from 'vitest';
import { get16, put16 } from '../link/bytes.ts';
import { userNetwork } from './network.ts';
import type { NetworkOptions } from './options.ts';
import { HandUplink, settled } from './uplink.fixture.ts';
import { bytesOf, SimulatedClock, udpFrame, Wire } from './wire.fixture.ts';

const types = { A: 1, MX: 15, AAAA: 28 } as const;

interface Query {
  readonly type?: number;
  /** What the guest says that it can take. */
  readonly room?: number;
}

function queryOf(name: string, { type = types.A, room }: Query = {}): Uint8Array {
  const labels = name
    .split('.')
    .flatMap((label) => [label.length, ...Array.from(label, (letter) => letter.charCodeAt(0))]);
  const query = bytesOf('1234 0100 0001 0000 0000 0000', labels, [0, 0, type, 0, 1]);
  if (room === undefined) return query;
  put16(query, 10, 1);
  return bytesOf(query, [0, 0, 41, room >> 8, room & 255, 0, 0, 0, 0, 0, 0]);
}

function network(options: NetworkOptions = {}) {
  const uplink = new HandUplink();
  const net = userNetwork({ clock: new SimulatedClock(), uplink, ...options });
  const wire = new Wire(net);
  wire.take();
  const ask = async (query: Uint8Array, server = '10.0.2.3') => {
    const guest = server.includes(':') ? 'fec0::15' : '10.0.2.15';
    wire.give(udpFrame([guest, 1000], [server, 53], query));
    await settled();
    const answer = wire.packets().find(({ protocol }) => protocol === 17);
    if (answer === undefined) return undefined;
    const bytes = answer.payload.subarray(8);
    const count = get16(bytes, 6);
    return {
      from: answer.source,
      id: get16(bytes, 0),
      code: bytes[3]! & 15,
      truncated: (bytes[2]! & 2) !== 0,
      addresses:
        count === 0
          ? []
          : [bytes.subarray(bytes.length - (get16(bytes, queryLength(bytes) + 2) === 1 ? 4 : 16)).join('.')],
      bytes,
    };
  };
  return { ask, net, uplink, wire };
}

function queryLength(bytes: Uint8Array): number {
  let at = 12;
  while (bytes[at] !== 0) at += 1 + bytes[at]!;
  return at + 5;
}

/** What a name server says to this: as many bytes as are wanted. */
function answerTo(query: Uint8Array, length = 100, code = 0): Uint8Array {
  const answer = new Uint8Array(Math.max(length, query.length));
  answer.set(query);
  answer.set([0x81, 0x80 | code], 2);
  return answer;
}

describe('the name server', () => {
  it('hands on what it does not know, and what it is told', async () => {
    const { ask, uplink } = network();
    uplink.onQuery = (query) => answerTo(query);
    const query = queryOf('example.org', { type: types.MX });
    expect((await ask(query))?.bytes).toEqual(answerTo(query));
    expect(uplink.queries).toEqual([query]);
    expect(await ask(query, 'fec0::3')).toMatchObject({ from: 'fec0::3' });
  });

  it('knows the names that it was given, whatever their case', async () => {
    const { ask, uplink } = network({ names: { 'DB.example': ['10.0.2.2', 'fec0::2'] } });
    expect(await ask(queryOf('db.EXAMPLE'))).toMatchObject({ id: 0x1234, code: 0, addresses: ['10.0.2.2'] });
    expect((await ask(queryOf('db.example', { type: types.AAAA })))?.addresses).toEqual([
      '254.192.0.0.0.0.0.0.0.0.0.0.0.0.0.2',
    ]);
    expect(await ask(queryOf('db.example', { type: types.MX }))).toMatchObject({ code: 0, addresses: [] });
    expect(uplink.queries).toEqual([]);
  });

  it('looks up what the host alone knows', async () => {
    const { ask, uplink } = network();
    uplink.hosts.set('printer', ['192.0.2.7']).set('host.example', ['192.0.2.8']);
    uplink.hosts.set('mine', ['127.0.1.1']).set('localhost', ['127.0.0.1']);
    uplink.onQuery = (query) => answerTo(query, 0, 3);
    expect((await ask(queryOf('printer')))?.addresses).toEqual(['192.0.2.7']);
    // By such a name the host is meant, and not who asks.
    expect((await ask(queryOf('mine')))?.addresses).toEqual(['10.0.2.2']);
    expect((await ask(queryOf('localhost')))?.addresses).toEqual(['127.0.0.1']);
    // A name that has addresses of one family is no name that there is not.
    expect(await ask(queryOf('localhost', { type: types.AAAA }))).toMatchObject({ code: 0, addresses: [] });
    expect(uplink.queries).toEqual([]);
    expect((await ask(queryOf('host.example')))?.addresses).toEqual(['192.0.2.8']);
    expect(await ask(queryOf('none.example'))).toMatchObject({ code: 3 });
  });

  it('says that it failed when nobody answers, or somebody answers something else', async () => {
    const { ask, uplink } = network();
    expect(await ask(queryOf('example.org'))).toMatchObject({ code: 2 });
    for (const answer of [new Uint8Array(), new Uint8Array(12), answerTo(queryOf('example.com'))]) {
      uplink.onQuery = () => answer;
      expect(await ask(queryOf('example.org'))).toMatchObject({ code: 2 });
    }
    uplink.onQuery = () => {
      throw new Error('no network');
    };
    expect(await ask(queryOf('example.org'))).toMatchObject({ code: 2 });
  });

  it.each([
    [undefined, 512, false],
    [undefined, 513, true],
    [100, 512, false],
    [1232, 1232, false],
    [1232, 1233, true],
    [65_535, 4096, false],
    [65_535, 4097, true],
  ])('with room for %s bytes, one of %s is cut: %s', async (room, length, cut) => {
    const { ask, uplink } = network({ mtu: 9000 });
    uplink.onQuery = (query) => answerTo(query, length);
    const query = queryOf('example.org', room === undefined ? {} : { room });
    const answer = await ask(query);
    expect(answer?.truncated).toBe(cut);
    expect(answer?.bytes.length).toBe(cut ? queryOf('example.org').length : length);
  });

  it.each([
    ['no question', bytesOf('1234 0100 0000 0000 0000 0000'), 1],
    ['two of them', bytesOf('1234 0100 0002 0000 0000 0000', queryOf('a.b').subarray(12)), 1],
    ['one that ends early', queryOf('example.org').subarray(0, 20), 1],
    ['one that points to itself', bytesOf('1234 0100 0001 0000 0000 0000 c00c 0001 0001'), 1],
    ['another operation', bytesOf('1234 2800 0001 0000 0000 0000', queryOf('a.b').subarray(12)), 4],
  ])('refuses %s', async (_, query, code) => {
    const { ask, uplink } = network();
    expect(await ask(query)).toMatchObject({ id: 0x1234, code });
    expect(uplink.queries).toEqual([]);
  });

  it('does not answer answers', async () => {
    const { ask } = network();
    expect(await ask(answerTo(queryOf('example.org')))).toBeUndefined();
    expect(await ask(new Uint8Array(5))).toBeUndefined();
  });

  it('asks nobody in a network that is kept in', async () => {
    const { ask, uplink } = network({ restrict: true, names: { 'a.b': '10.0.2.2' } });
    expect(await ask(queryOf('example.org'))).toMatchObject({ code: 5 });
    expect(await ask(queryOf('a.b'))).toMatchObject({ code: 0 });
    expect(uplink.queries).toEqual([]);
  });
});
