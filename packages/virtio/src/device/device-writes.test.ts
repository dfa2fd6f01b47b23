import { expect, it } from 'vitest';
import { entropy } from '../devices/entropy/spec.ts';
import { open } from '../driver/open.ts';
import { Loopback } from '../transports/loopback/loopback.ts';
import { device } from './device.ts';

it('tells a host what was written, piece by piece, before the driver sees the buffer as used', async () => {
  const made = device(entropy, {
    serve: { requestq: ({ writable }) => void writable.write(new Uint8Array(12)) },
  });
  const transport = new Loopback(made);
  const opened = await open(transport, entropy, { features: [] });
  const requestq = opened.queue('requestq');
  const elements = [10, 1, 21].map((length) => ({ address: requestq.allocator.allocate(length), length }));
  const events: unknown[] = [];
  transport.memory.onDeviceWrite = (region, offset, length) => {
    events.push({ address: region.start + offset, length });
  };
  await new Promise<void>((resolve) => {
    requestq.submit([], elements, (written) => {
      events.push(written);
      resolve();
    });
  });
  expect(events).toEqual([
    { address: elements[0]!.address, length: 10 },
    { address: elements[1]!.address, length: 1 },
    { address: elements[2]!.address, length: 1 },
    12,
  ]);
});
