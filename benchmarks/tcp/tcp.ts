// What a stream of bytes costs from one TCP to another in this process, beside copying the same bytes as often as the bytes
// of a stream are copied. `npm run build && npx tsx benchmarks/tcp/tcp.ts [--json]`
import { finished } from 'virtio/link';
import { type TcpHandler, type TcpSegmentOut, TcpStack, type TcpStream } from 'virtio/network/tcp';
import { median } from '../measures.ts';
import { printReport } from '../report.ts';

const chunk = 65_536;
const bytesPerRound = 512 * 1024 * 1024;
const rounds = 5;
const addressA = Uint8Array.of(10, 0, 2, 2);
const addressB = Uint8Array.of(10, 0, 2, 15);

/** What the reader does with bytes: it copies them, as somebody does who passes them on. */
const sink = new Uint8Array(chunk);

type Way = 'large' | 'small';

/** Cuts what is sent into segments as a wire would carry them, each with a header of its own. */
function cut(
  segment: TcpSegmentOut,
  deliver: (bytes: Uint8Array, offset: number, length: number) => void,
): void {
  const { bytes, offset, headerLength, length, segmentSize } = segment;
  const size = segmentSize === 0 ? length : segmentSize;
  const view = new DataView(bytes.buffer);
  const first = view.getInt32(offset + 4);
  for (let at = headerLength; at < length || at === headerLength; at += size) {
    const start = offset + at - headerLength;
    if (at > headerLength) bytes.copyWithin(start, offset, offset + headerLength);
    view.setInt32(start + 4, first + at - headerLength);
    deliver(bytes, start, Math.min(size, length - at) + headerLength);
  }
}

interface Ends {
  readonly writer: TcpStream;
  received: number;
}

async function connect(way: Way): Promise<Ends> {
  const clock = {
    now: () => performance.now(),
    setTimer(milliseconds: number, fire: () => void) {
      const timer = setTimeout(fire, milliseconds);
      return () => clearTimeout(timer);
    },
  };
  const random = (bytes: Uint8Array) => bytes.set(crypto.getRandomValues(new Uint8Array(bytes.length)));
  const offload = { ...finished, checksumValid: true };
  const send = (other: () => TcpStack) => (segment: TcpSegmentOut) => {
    const { source, destination } = segment;
    const deliver = (bytes: Uint8Array, offset: number, length: number) =>
      other().receive({ source, destination, bytes, offset, length, offload });
    if (way === 'small') cut(segment, deliver);
    else deliver(segment.bytes, segment.offset, segment.length);
    return true;
  };
  const mtu = way === 'small' ? 1500 : 65_535;
  const a: TcpStack = new TcpStack({ clock, random, mtu, send: send(() => b) });
  const b: TcpStack = new TcpStack({ clock, random, mtu, send: send(() => a) });
  let received: (bytes: Uint8Array) => void = () => {};
  b.onConnect = (request) => {
    const handler: TcpHandler = {
      data(bytes) {
        received(bytes);
        return bytes.length;
      },
      end() {},
      writable() {},
      closed() {},
    };
    request.accept().handle(handler);
  };
  const writer = await a.connect({ address: addressA, port: 0 }, { address: addressB, port: 80 });
  const ends: Ends = { writer, received: 0 };
  received = (bytes) => {
    sink.set(bytes);
    ends.received += bytes.length;
  };
  return ends;
}

const source = new Uint8Array(chunk).map((_, i) => i);

/** Seconds for a round of a stream whose writer gives its bytes away, or has them copied. */
async function stream({ writer }: Ends, ends: Ends, copies: boolean): Promise<number> {
  const goal = ends.received + bytesPerRound;
  const begun = performance.now();
  let written = 0;
  const pump = () => {
    while (written < bytesPerRound) {
      if (copies) {
        const taken = writer.tryWrite(source);
        written += taken;
        if (taken < chunk) return;
      } else {
        if (!writer.give(source)) return;
        written += chunk;
      }
    }
  };
  await new Promise<void>((resolve) => {
    writer.handle({ data: (bytes) => bytes.length, end() {}, writable: pump, closed: () => resolve() });
    pump();
    const look = () => (ends.received >= goal ? resolve() : setImmediate(look));
    look();
  });
  return (performance.now() - begun) / 1000;
}

/** Seconds to copy the bytes of a round so many times. */
function copyLoop(times: number): number {
  const between = new Uint8Array(1024 * 1024);
  const begun = performance.now();
  for (let done = 0; done < bytesPerRound; done += chunk) {
    for (let i = 0; i < times; i++) between.set(source, (done + i * chunk) % between.length);
  }
  return (performance.now() - begun) / 1000;
}

const rate = (seconds: number): number => Math.round(bytesPerRound / seconds / 1e7) / 100;

const rows: Record<string, string | number>[] = [];
const ratios: Record<string, number> = {};
for (const [name, way, copies, times] of [
  ['64 KiB segments, given', 'large', false, 2],
  ['64 KiB segments, copied', 'large', true, 3],
  ['1,448-byte segments, given', 'small', false, 2],
] as const) {
  const ends = await connect(way);
  await stream(ends, ends, copies);
  const seconds: number[] = [];
  const floors: number[] = [];
  for (let i = 0; i < rounds; i++) {
    floors.push(copyLoop(times));
    seconds.push(await stream(ends, ends, copies));
  }
  const ours = median(seconds);
  const floor = median(floors);
  ratios[name] = floor / ours;
  rows.push({
    stream: name,
    'GB/s': rate(ours),
    'copies alone, GB/s': rate(floor),
    ratio: Math.round((floor / ours) * 100) / 100,
  });
  ends.writer.reset();
}

const value = Math.round(ratios['64 KiB segments, given']! * 100) / 100;
printReport({
  name: 'tcp',
  rows,
  targets: [{ what: 'a stream beside two copies of its bytes', value, limit: 0.15, met: value >= 0.15 }],
});
