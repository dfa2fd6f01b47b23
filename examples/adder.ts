/** The example of the README: a device and its driver, in one process. */
import { device } from 'virtio/device';
import { open } from 'virtio/driver';
import { deviceType, le32, struct } from 'virtio/spec';
import { Loopback } from 'virtio/transports/loopback';

const adder = deviceType({
  id: 60,
  name: 'adder',
  features: {},
  queues: { requestq: 0 },
  config: struct('adder_config', { increment: le32 }),
});

const adderDevice = device(adder, {
  config: { increment: 5 },
  serve: { requestq: ({ readable, writable }) => writable.u32(readable.u32() + 5) },
});

const opened = await open(new Loopback(adderDevice), adder, { features: [] });
const answer = await opened.queue('requestq').request(Uint8Array.of(37, 0, 0, 0), 4);
console.log(answer[0], opened.config.increment); // 42 5
await opened.close();
