import { describe, expect, it } from 'vitest';
import { difference } from '../../testing/fixtures/pattern.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { consoleDevice, openConsole } from './index.ts';

const length = 10_000_000;

/** Bytes that show where they are: a loss, a doubling or an exchange changes them. */
function pattern(seed: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 2_654_435_761);
  return new Uint8Array(words.buffer);
}

/** What arrives in pieces, put together. */
class Sink {
  readonly bytes: Uint8Array = new Uint8Array(length);
  received = 0;

  add(piece: Uint8Array): void {
    this.bytes.set(piece, this.received);
    this.received += piece.length;
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && difference(a, b) === undefined;

describe('ten megabytes', () => {
  for (const multiport of [false, true]) {
    it(`go in both directions at once unchanged, ${multiport ? 'with' : 'without'} MULTIPORT`, async () => {
      const [toGuest, toHost] = [pattern(1), pattern(2)];
      const [host, guest] = [new Sink(), new Sink()];
      const device = consoleDevice({
        offers: multiport ? ['MULTIPORT'] : [],
        // A host that is slow now and then.
        onData(piece) {
          host.add(piece);
          return host.received % 3 === 0 ? Promise.resolve() : undefined;
        },
      });
      const port = await (await openConsole(new Loopback(device))).port(0);
      const sent = [device.console.write(toGuest), port.write(toHost)];
      while (guest.received < length) guest.add((await port.read()) ?? new Uint8Array());
      await Promise.all(sent);
      expect(equal(guest.bytes, toGuest)).toBe(true);
      expect(equal(host.bytes, toHost)).toBe(true);
    });
  }
});
