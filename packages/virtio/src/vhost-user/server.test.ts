import { describe, expect, it, vi } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { device } from '../device/device.ts';
import { deviceType } from '../spec/device-type.ts';
import { struct } from '../spec/layout.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { RawFrontEnd } from './front-end.fixture.ts';
import { VhostUserServer, type VhostUserServerOptions } from './server.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: 0 },
  config: struct('sample_config', {}),
});

const host = new InMemoryDescriptors();
const serverOf = (options: VhostUserServerOptions = {}): VhostUserServer =>
  new VhostUserServer(device(type, {}), host, { packedRing, ...options });

/** A front end at the other end of a connection. */
function connect(server: VhostUserServer): { readonly front: RawFrontEnd; close(): void } {
  const [near, far] = channelPair();
  server.serve(near);
  return { front: new RawFrontEnd(host, far), close: () => far.close() };
}

/** Settles when the other end has closed a connection. */
const closed = (channel: Channel): Promise<void> =>
  new Promise((resolve) => channel.listen({ received() {}, closed: () => resolve() }));

describe('a device at the disposal of many front ends', () => {
  it('serves one after the other, and has those who come meanwhile wait', async () => {
    const heard: string[] = [];
    const server = serverOf({
      onConnected: () => heard.push('connected'),
      onDisconnected: (error) => heard.push(`disconnected ${error?.code}`),
    });
    const first = connect(server);
    const second = connect(server);
    expect(await first.front.askNumber('GET_FEATURES')).toBeGreaterThan(0n);
    expect([server.connected, ...heard]).toEqual([true, 'connected']);
    second.front.stream.request('GET_FEATURES', {});
    expect(await second.front.reply()).toBeUndefined();
    first.close();
    await vi.waitFor(async () => expect(await second.front.reply()).toBeDefined());
    expect(heard).toEqual(['connected', 'disconnected undefined', 'connected']);
    second.close();
    await vi.waitFor(() => expect(server.connected).toBe(false));
  });

  it('turns away the tenth, and all of them when it is closed', async () => {
    const server = serverOf();
    const ended = Array.from({ length: 10 }, () => {
      const [near, far] = channelPair();
      server.serve(near);
      return closed(far);
    });
    await ended[9];
    expect(server.connected).toBe(true);
    server.close();
    server.close();
    await Promise.all(ended);
    expect(server.connected).toBe(false);
    const [near, far] = channelPair();
    server.serve(near);
    await closed(far);
  });
});
