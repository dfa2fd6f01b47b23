import { describe, expect, it } from 'vitest';
import { Peer } from './peer.fixture.ts';
import { addressA, addressB } from './simulation.fixture.ts';

const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i);

/** A connection in which segments of 1000 bytes are sent, some of which are under way. */
function sending(length: number, syn = {}): Peer {
  const peer = new Peer();
  const { stream } = peer.open({ mss: 1000, ...syn });
  stream.give(bytes(length));
  return peer;
}

describe('a time-out', () => {
  it('comes after 200 ms at least, then after twice as long each time, up to a minute', () => {
    const peer = sending(500);
    peer.take();
    const waits: number[] = [];
    for (let before = peer.clock.now(); waits.length < 11; ) {
      while (peer.sent.length === 0) peer.clock.step();
      expect(peer.take()).toEqual(['PA 1+500 1']);
      waits.push(peer.clock.now() - before);
      before = peer.clock.now();
    }
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
  });

  it('gives the connection up after fifteen of them', () => {
    const peer = new Peer();
    const { stream, heard } = peer.open();
    stream.give(bytes(5));
    peer.clock.pass(3_600_000);
    expect(heard.over?.failure).toMatchObject({ code: 'CONNECTION_RESET' });
    expect(peer.take().filter((line) => line.startsWith('PA')).length).toBe(16);
    expect(peer.clock.pending).toBe(0);
  });

  it('sends one segment, then two', () => {
    const peer = sending(8000);
    expect(peer.take().length).toBe(8);
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['A 1+1000 1']);
    peer.send('A', { ack: 1001 });
    expect(peer.take()).toEqual(['A 1001+1000 1', 'A 2001+1000 1']);
    // The rest had arrived.
    peer.send('A', { ack: 8001 });
    expect(peer.take()).toEqual([]);
  });

  it('follows the round trip, by the samples of what was sent once', () => {
    const peer = new Peer();
    const { stream } = peer.open();
    let ack = 1;
    const goes = (milliseconds: number) => {
      stream.give(bytes(10));
      peer.clock.pass(milliseconds);
      ack += 10;
      peer.send('A', { ack });
    };
    // On average 145, and 45 beside it: 325 ms.
    for (let i = 0; i < 50; i++) goes(100 + (i % 2) * 90);
    peer.take();
    stream.give(bytes(10));
    peer.clock.pass(310);
    expect(peer.take().length).toBe(1);
    peer.clock.pass(40);
    expect(peer.take().length).toBe(1);
    // Acknowledged now: nobody knows which of the two, so the wait stays long (Karn's algorithm).
    ack += 10;
    peer.send('A', { ack });
    stream.give(bytes(10));
    peer.take();
    peer.clock.pass(620);
    expect(peer.take()).toEqual([]);
  });

  it('tells by timestamps how long a repeated segment took', () => {
    const peer = new Peer();
    const { stream } = peer.open({ timestamps: [1, 0] });
    stream.give(bytes(10));
    for (let i = 0; i < 5; i++) peer.clock.pass(200 * 2 ** i);
    const { timestamp } = peer.last.options;
    peer.clock.pass(5);
    peer.send('A', { ack: 11, timestamps: [2, timestamp] });
    peer.take();
    stream.give(bytes(10));
    peer.clock.pass(250);
    expect(peer.take().length).toBe(2);
  });
});

describe('a loss', () => {
  it('is found by three acknowledgments that say nothing else', () => {
    const peer = sending(8000);
    peer.take();
    peer.send('A', { ack: 1001 });
    peer.take();
    peer.send('A', { ack: 1001 });
    peer.send('A', { ack: 1001 });
    // One with data, or with another window, says something else.
    peer.send('A', { ack: 1001, data: 1 });
    peer.send('A', { seq: 2, ack: 1001, window: 60_000 });
    expect(peer.take().filter((line) => line.includes('+'))).toEqual([]);
    peer.send('A', { seq: 2, ack: 1001, window: 60_000 });
    expect(peer.take()).toEqual(['A 1001+1000 2']);
    // All of it had come but this: recovery is over.
    peer.send('A', { seq: 2, ack: 8001, window: 60_000 });
    expect(peer.take()).toEqual([]);
  });

  it('of several segments is made good one by one without SACK', () => {
    const peer = sending(10_000);
    peer.take();
    for (let i = 0; i < 3; i++) peer.send('A', { ack: 1 });
    expect(peer.take()).toEqual(['A 1+1000 1']);
    for (let i = 0; i < 4; i++) peer.send('A', { ack: 1 });
    peer.take();
    peer.send('A', { ack: 3001 });
    expect(peer.take()).toEqual(['A 3001+1000 1']);
    peer.send('A', { ack: 6001 });
    expect(peer.take()).toEqual(['A 6001+1000 1']);
    peer.send('A', { ack: 10_001 });
    expect(peer.take()).toEqual([]);
  });

  it('lets new data out for each segment that arrived, even before it is sure', () => {
    const peer = sending(20_000);
    expect(peer.take().length).toBe(10);
    peer.send('A', { ack: 1 });
    expect(peer.take()).toEqual(['A 10001+1000 1']);
    peer.send('A', { ack: 1 });
    expect(peer.take()).toEqual(['A 11001+1000 1']);
  });

  it('with SACK sends what is missing, and nothing else', () => {
    const peer = sending(10_000, { sackPermitted: true });
    peer.take();
    peer.clock.pass(20);
    // 1, 4 and 5 are lost.
    const sack = (blocks: [number, number][]) => peer.send('A', { sack: blocks });
    sack([[1001, 2001]]);
    sack([[1001, 3001]]);
    expect(peer.take()).toEqual([]);
    sack([
      [5001, 6001],
      [1001, 3001],
    ]);
    sack([
      [5001, 7001],
      [1001, 3001],
    ]);
    sack([
      [5001, 10_001],
      [1001, 3001],
    ]);
    const again = peer.take();
    expect(again[0]).toBe('A 1+1000 1');
    expect(new Set(again)).toEqual(new Set(['A 1+1000 1', 'A 3001+1000 1', 'A 4001+1000 1']));
    peer.send('A', { ack: 10_001 });
    expect(peer.take()).toEqual([]);
  });

  it('of which little tells is found by time: by a quarter of a round trip', () => {
    const peer = sending(2000, { sackPermitted: true });
    peer.clock.pass(20);
    peer.take();
    peer.send('A', { sack: [[1001, 2001]] });
    peer.clock.pass(4);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['A 1+1000 1']);
    peer.send('A', { ack: 2001 });
    expect(peer.clock.pending).toBeLessThanOrEqual(1);
    peer.clock.pass(1000);
    expect(peer.take()).toEqual([]);
  });

  it('is none when things came in another order, and the next is waited for', () => {
    const peer = sending(200_000, { sackPermitted: true });
    peer.clock.pass(20);
    peer.send('A', { ack: 1001 });
    peer.take();
    let ack = 1001;
    /** The first segment comes behind so many others. */
    const comesBehind = (others: number): string[] => {
      for (let i = 1; i <= others; i++) peer.send('A', { ack, sack: [[ack + 1000, ack + 1000 * (i + 1)]] });
      const again = peer.take().filter((line) => line.startsWith(`A ${ack}+`));
      ack += 1000 * (others + 1);
      peer.send('A', { ack });
      return again;
    };
    expect(comesBehind(1)).toEqual([]);
    peer.clock.pass(20);
    // Three would be a sure sign of a loss on a path that keeps the order.
    expect(comesBehind(3)).toEqual([]);
  });

  it('halves what may be under way, and a little less by the cubic curve', () => {
    const peer = sending(200_000, { sackPermitted: true });
    for (let ack = 1001; ack <= 20_001; ack += 1000) peer.send('A', { ack });
    const end = () => Math.max(...peer.sent.map((s) => ((s.sequence - peer.ours) | 0) + s.payloadLength));
    const next = end();
    const flight = next - 20_001;
    for (let end = 23_001; end <= next; end += 1000) peer.send('A', { ack: 20_001, sack: [[22_001, end]] });
    peer.send('A', { ack: next });
    const after = end() - next;
    expect(after).toBeGreaterThan(0.5 * flight);
    expect(after).toBeLessThan(0.9 * flight);
  });

  it('of what was sent again is found without a time-out', () => {
    const peer = sending(40_000, { sackPermitted: true });
    peer.take();
    let sacked = 1001;
    const arrives = () => {
      sacked += 1000;
      peer.send('A', { sack: [[1001, sacked]] });
    };
    while (sacked < 10_001) arrives();
    expect(peer.take().filter((line) => line.startsWith('A 1+'))).toEqual(['A 1+1000 1']);
    // New data went out behind it; when three of those came, it is lost again.
    for (let i = 0; i < 12; i++) arrives();
    expect(peer.take().filter((line) => line.startsWith('A 1+')).length).toBeGreaterThan(0);
    expect(peer.clock.now()).toBe(0);
  });
});

describe('the tail', () => {
  /** A connection whose round trip is known, with so many segments of 1000 bytes under way from 1001 on. */
  function underWay(segments: number): { peer: Peer; give: (length: number) => void } {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000, sackPermitted: true });
    const give = (length: number) => void stream.give(bytes(length));
    give(1000);
    peer.clock.pass(20);
    peer.send('A', { ack: 1001 });
    give(1000 * segments);
    peer.take();
    return { peer, give };
  }

  it('is asked about long before time is up, by its last segment', () => {
    const { peer } = underWay(3);
    peer.clock.pass(4);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['PA 3001+1000 1']);
    // Once; then comes the time-out.
    peer.clock.pass(199);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['A 1001+1000 1']);
  });

  it('tells what was lost before it', () => {
    const { peer } = underWay(3);
    peer.clock.pass(10);
    peer.take();
    peer.clock.pass(20);
    peer.send('A', { ack: 1001, sack: [[3001, 4001]] });
    expect(peer.take()).toEqual(['A 1001+1000 1', 'A 2001+1000 1']);
    peer.send('A', { ack: 4001 });
    expect(peer.take()).toEqual([]);
  });

  it('is asked about by what is new, when there is something', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000, sackPermitted: true });
    stream.give(bytes(40_000));
    peer.clock.pass(20);
    peer.send('A', { ack: 10_001 });
    expect(peer.take().at(-1)).toBe('A 29001+1000 1');
    peer.clock.pass(10);
    expect(peer.take()).toEqual(['A 30001+1000 1']);
  });

  /** How many segments go at once after the tail was asked about, and what was said then. */
  function after(...answers: Parameters<Peer['send']>[1][]): number {
    const { peer, give } = underWay(9);
    peer.clock.pass(10);
    for (const answer of answers) peer.send('A', answer);
    give(1000);
    peer.send('A', { ack: 11_001 });
    peer.take();
    give(30_000);
    return peer.take().length;
  }

  it('costs room on the path only when it was lost', () => {
    const whole = after({ ack: 10_001 }, { ack: 10_001, sack: [[9001, 10_001]] });
    expect(whole).toBeGreaterThan(10);
    expect(after({ ack: 10_001 })).toBeLessThan(whole);
  });

  it('of a single segment waits for a late acknowledgment', () => {
    const { peer } = underWay(1);
    peer.clock.pass(199);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(1);
    expect(peer.take()).toEqual(['PA 1001+1000 1']);
  });
});

describe('what may be under way', () => {
  it('is ten segments at first, and twice as much a round trip later', () => {
    const peer = sending(100_000);
    expect(peer.take().length).toBe(10);
    peer.send('A', { ack: 10_001 });
    expect(peer.take().length).toBe(20);
  });

  it('is one segment at first when the first SYN was lost', () => {
    const peer = new Peer();
    let sent = false;
    peer.stack.onConnect = (request) => {
      const stream = request.accept();
      sent = stream.give(bytes(5000));
    };
    peer.send('S', { seq: 0, mss: 1000 });
    peer.clock.pass(1000);
    peer.take();
    peer.send('A', {});
    expect([sent, peer.take()]).toEqual([true, ['A 1+1000 1']]);
  });

  it('is what it was at first after a silence', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    stream.give(bytes(30_000));
    for (let ack = 5001; ack <= 30_001; ack += 5000) peer.send('A', { ack });
    peer.clock.pass(10_000);
    peer.take();
    stream.give(bytes(30_000));
    expect(peer.take().length).toBe(10);
  });
});

describe('a peer without room', () => {
  it('is asked, less and less often, by one byte', () => {
    const peer = sending(5000, { window: 0 });
    expect(peer.take()).toEqual([]);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      while (peer.sent.length === 0) peer.clock.step();
      expect(peer.take()).toEqual(['A 1+1 1']);
      times.push(peer.clock.now());
      peer.send('A', { window: 0 });
    }
    expect(times).toEqual([200, 600, 1400, 3000, 6200]);
    // For ever, as long as it answers.
    for (let i = 0; i < 100; i++) {
      peer.clock.pass(60_000);
      peer.send('A', { window: 0 });
    }
    peer.take();
    peer.send('A', { window: 2001 });
    expect(peer.take()).toEqual(['A 1+1 1', 'A 2+1000 1', 'A 1002+1000 1']);
  });

  it('that takes the byte is sent what is behind it', () => {
    const peer = sending(100, { window: 0 });
    peer.clock.pass(200);
    peer.take();
    peer.send('A', { ack: 2, window: 1000 });
    expect(peer.take()).toEqual(['PA 2+99 1']);
  });

  it('that takes back what it had offered is not sent more, and asked in the end', () => {
    const peer = sending(8000, { window: 3000 });
    expect(peer.take()).toEqual(['A 1+1000 1', 'A 1001+1000 1', 'A 2001+1000 1']);
    peer.send('A', { ack: 1001, window: 500 });
    expect(peer.take()).toEqual([]);
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['A 1001+500 1']);
    peer.send('A', { ack: 1501, window: 0 });
    peer.clock.pass(400);
    expect(peer.take()).toEqual(['A 1501+1 1']);
  });

  it('is not sent crumbs', () => {
    const peer = sending(5000, { window: 4000 });
    peer.take();
    peer.send('A', { ack: 4001, window: 300 });
    expect(peer.take()).toEqual([]);
    // But in the end, since nothing else would move.
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['A 4001+300 1']);
  });

  it('is sent what is half of all it ever had', () => {
    const peer = sending(5000, { window: 600 });
    expect(peer.take()).toEqual(['A 1+600 1']);
    peer.send('A', { ack: 601, window: 300 });
    expect(peer.take()).toEqual(['A 601+300 1']);
  });

  it('does not hear old windows', () => {
    const peer = sending(8000, { window: 2000 });
    peer.take();
    peer.send('A', { seq: 1, ack: 1001, window: 5000, data: 1 });
    expect(peer.take().length).toBe(4);
    // Sent before, came behind: its window is of the past.
    peer.send('A', { seq: 1, ack: 3001, window: 0, data: 2 });
    expect(peer.take()).toEqual(['A 6001 3']);
    peer.send('A', { seq: 3, ack: 6001, window: 5000 });
    expect(peer.take()).toEqual(['A 6001+1000 3', 'PA 7001+1000 3']);
  });
});

describe('segments', () => {
  it('go out in pieces of up to 64 KiB, for others to cut', () => {
    const peer = new Peer();
    const { stream } = peer.open({ scale: 7, window: 4_000_000 });
    stream.give(new Uint8Array(1_000_000));
    for (let i = 0; i < 40; i++)
      peer.send('A', {
        ack: ((peer.last.sequence - peer.ours) | 0) + peer.last.payloadLength,
        window: 30_000,
      });
    const most = Math.max(...peer.pieces.map(({ length }) => length));
    expect(most).toBe(Math.floor(65_495 / 1460) * 1460);
    expect(peer.pieces.every(({ length, segmentSize }) => segmentSize === (length > 1460 ? 1460 : 0))).toBe(
      true,
    );
  });

  it('have room for their options', () => {
    const peer = new Peer();
    const { stream } = peer.open({ sackPermitted: true, timestamps: [1, 0], mss: 1000 });
    peer.send('A', { seq: 5, data: 1, timestamps: [1, 0] });
    peer.take();
    stream.give(bytes(3000));
    expect(peer.sent.map((segment) => segment.payloadLength)).toEqual([976, 976, 976, 72]);
  });

  it('wait for company when that is asked for', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    stream.nagle(true);
    stream.tryWrite(bytes(10));
    stream.tryWrite(bytes(10));
    stream.tryWrite(bytes(1500));
    expect(peer.take()).toEqual(['PA 1+10 1', 'A 11+1000 1']);
    peer.send('A', { ack: 1011 });
    expect(peer.take()).toEqual(['PA 1011+510 1']);
    stream.tryWrite(bytes(5));
    stream.end();
    expect(peer.take()).toEqual(['FPA 1521+5 1']);
  });

  it('wait for no large ones: the end of a reply goes at once', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    stream.nagle(true);
    stream.put(bytes(2500));
    expect(peer.take()).toEqual(['A 1+1000 1', 'A 1001+1000 1', 'PA 2001+500 1']);
    stream.put(bytes(1500));
    expect(peer.take()).toEqual(['A 2501+1000 1']);
    peer.send('A', { ack: 2001 });
    expect(peer.take()).toEqual([]);
    peer.send('A', { ack: 2501 });
    expect(peer.take()).toEqual(['PA 3501+500 1']);
  });

  it('wait for what is said to follow, but not for ever', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    stream.cork(true);
    stream.put(bytes(2500));
    expect(peer.take()).toEqual(['A 1+1000 1', 'A 1001+1000 1']);
    stream.put(bytes(600));
    expect(peer.take()).toEqual(['A 2001+1000 1']);
    stream.cork(false);
    expect(peer.take()).toEqual(['PA 3001+100 1']);
    peer.send('A', { ack: 3101 });
    stream.cork(true);
    stream.put(bytes(10));
    expect(peer.take()).toEqual([]);
    peer.clock.pass(200);
    expect(peer.take()).toEqual(['PA 3101+10 1']);
    stream.put(bytes(10));
    stream.end();
    expect(peer.take()).toEqual(['FPA 3111+10 1']);
  });

  it('are copies of what is put, which says when it is enough and when there is room again', () => {
    const peer = new Peer({ limits: { sendBuffer: 3000 } });
    const { stream, heard } = peer.open({ mss: 1000 });
    const lent = bytes(2000);
    expect(stream.put(lent)).toBe(true);
    expect(stream.put(lent)).toBe(false);
    lent.fill(0);
    expect(peer.payloads.map((payload) => payload[1])).toEqual([1, 233, 1, 233]);
    peer.send('A', { ack: 2001 });
    expect(heard.rooms).toBe(0);
    peer.send('A', { ack: 3001 });
    expect(heard.rooms).toBe(1);
  });

  it('are enough at 64 KiB when all connections together have as much as they may', () => {
    const peer = new Peer({ limits: { memory: 100_000 } });
    const first = peer.open();
    expect(first.stream.put(bytes(90_000))).toBe(true);
    peer.port++;
    const { stream, heard } = peer.open({ window: 65_535 });
    expect(stream.put(bytes(60_000))).toBe(true);
    expect(stream.put(bytes(10_000))).toBe(false);
    expect(stream.give(bytes(10_000))).toBe(false);
    first.stream.reset();
    expect(peer.stack.sendBudget.promised).toBe(70_000);
    peer.send('A', { ack: 1461 });
    expect(heard.rooms).toBe(1);
    expect(stream.give(bytes(10_000))).toBe(true);
  });

  it('are said to follow each other, and to be all', () => {
    const events: (boolean | 'segment')[] = [];
    const peer: Peer = new Peer({
      more: (follow) => void events.push(follow),
      send(segment) {
        events.push('segment');
        return peer.carry(segment);
      },
    });
    const { stream } = peer.open({ mss: 1000 });
    events.length = 0;
    stream.put(bytes(2500));
    expect(events).toEqual([true, 'segment', false]);
    peer.send('A', { ack: 2501, data: 10 });
    events.length = 0;
    peer.room = false;
    stream.put(bytes(10));
    peer.room = true;
    peer.stack.room();
    expect(events).toEqual([true, 'segment', false, 'segment', true, false]);
  });

  it('become smaller when the path takes less, and go again', () => {
    const peer = sending(3000, { mss: 1460 });
    expect(peer.take()).toEqual(['A 1+1460 1', 'A 1461+1460 1', 'PA 2921+80 1']);
    const quoted = peer.make('A');
    new DataView(quoted.buffer).setUint16(0, 80);
    new DataView(quoted.buffer).setUint16(2, 4000);
    new DataView(quoted.buffer).setInt32(4, (peer.ours + 1461) | 0);
    const quote = { source: addressA, destination: addressB, bytes: quoted, offset: 0 };
    peer.stack.tooBig(quote, 1000);
    expect(peer.take()).toEqual(['A 1+960 1', 'A 961+960 1', 'A 1921+960 1', 'PA 2881+120 1']);
    // Not smaller than anybody needs, and not for what is not under way.
    peer.stack.tooBig(quote, 68);
    expect(peer.sent[0]?.payloadLength).toBe(512);
    peer.take();
    new DataView(quoted.buffer).setInt32(4, (peer.ours + 9000) | 0);
    peer.stack.tooBig(quote, 552);
    expect(peer.take()).toEqual([]);
  });

  it('wait while there is no room on the link, and are what they were then', () => {
    const peer = new Peer();
    const { stream } = peer.open({ mss: 1000 });
    peer.room = false;
    stream.tryWrite(bytes(2500));
    peer.send('A', { data: 5 });
    expect(peer.take()).toEqual([]);
    peer.stack.room();
    expect(peer.take()).toEqual([]);
    peer.room = true;
    peer.stack.room();
    // What waited as it was; then what came meanwhile is acknowledged.
    expect(peer.take()).toEqual(['A 1+1000 1', 'A 1001+1000 1', 'PA 2001+500 1', 'A 2501 6']);
  });
});
