import { describe, expect, it } from 'vitest';
import { connect } from '../link/index.ts';
import { userNetwork } from './network.ts';
import type { NetworkOptions } from './options.ts';
import { Station } from './station.ts';
import { FarStream, HandUplink, settled } from './uplink.fixture.ts';

function network(options: NetworkOptions = {}) {
  const uplink = new HandUplink();
  const net = userNetwork({ uplink, ...options });
  const station = new Station({ takes: net.takes });
  connect(net, station);
  return { net, station, uplink };
}

/** Somebody outside who came by the first forward, as the network sees it. */
function visitor(uplink: HandUplink, address: string) {
  const nobody = { opened() {}, failed() {} };
  const far = new FarStream(
    { address, port: 4000 },
    { ...nobody, write: () => true, give: () => true, room() {}, end() {}, abort() {} },
  );
  const end = uplink.listeners[0]!.open(far, { address, port: 4000 });
  return { far, end: end! };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('a forward', () => {
  it.each([
    ['the host', '127.0.0.1', '10.0.2.2'],
    ['elsewhere', '192.0.2.9', '192.0.2.9'],
    ['IPv6, to a guest of IPv4', '2001:db8::1', '10.0.2.2'],
    ['an address that a guest could have', '10.0.2.77', '10.0.2.2'],
  ])('shows a guest those from %s', async (_, address, seen) => {
    const { net, station, uplink } = network();
    const peers: string[] = [];
    station.listen(80, async (stream) => {
      peers.push(`${stream.remote.address.join('.')} ${stream.remote.port}`);
      for await (const bytes of stream) await stream.write(bytes);
      stream.end();
    });
    const forward = await net.forward({ protocol: 'tcp', port: 8080, guestPort: 80 });
    expect(forward).toMatchObject({ address: '127.0.0.1', port: 8080 });
    const { far, end } = visitor(uplink, address);
    // What is written before the guest has answered is kept, and its writer waits.
    expect(end.write(Uint8Array.of(1, 2, 3))).toBe(false);
    await until(() => far.events.includes('room'));
    end.end();
    await until(() => far.events.includes('end'));
    expect([far.received, peers]).toEqual([[1, 2, 3], [`${seen} 4000`]]);
    net.close();
  });

  it('to a port at which nobody listens is refused', async () => {
    const { net, uplink } = network();
    await net.forward({ protocol: 'tcp', guestPort: 81 });
    const { far } = visitor(uplink, '127.0.0.1');
    await until(() => far.events.length > 0);
    expect(far.events).toEqual(['abort refused']);
    net.close();
  });

  it('ends with its network', async () => {
    const { net, station, uplink } = network();
    station.listen(80, () => {});
    await net.forward({ protocol: 'tcp', guestPort: 80 });
    const { far, end } = visitor(uplink, '127.0.0.1');
    end.give(Uint8Array.of(1));
    await until(() => far.events.includes('room'));
    net.close();
    expect(far.events.at(-1)).toBe('abort reset');
    const late = net.forward({ protocol: 'tcp', guestPort: 80 });
    await expect(late).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it.each([
    [{ guest: '192.0.2.1' }, 'BAD_ARGUMENT'],
    [{ guest: '10.0.2.2' }, 'BAD_ARGUMENT'],
    [{ guest: 'me' }, 'BAD_ARGUMENT'],
    [{ port: 65_536 }, 'BAD_ARGUMENT'],
    [{ guestPort: -1 }, 'BAD_ARGUMENT'],
    [{ protocol: 'udp' as const }, 'BAD_STATE'],
  ])('that makes no sense is not made: %j', async (options, code) => {
    const { net } = network();
    const made = net.forward({ protocol: 'tcp', guestPort: 80, ...options });
    await expect(made).rejects.toMatchObject({ code });
  });
});

describe('services of the program', () => {
  it('have an address that guests find and nobody else gets', async () => {
    const { net, station } = network();
    const service = net.listen({ address: '10.0.2.100', port: 7 }, async (stream) => {
      await stream.write(Uint8Array.of(42));
      await stream.close();
    });
    const stream = await station.connect('10.0.2.100', 7);
    expect(await stream.read()).toEqual(Uint8Array.of(42));
    expect((await station.ping('10.0.2.100', Uint8Array.of(1, 2))).length).toBe(2);
    await expect(station.connect('10.0.2.100', 8)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    expect(() => net.listen({ address: '10.0.2.100', port: 7 }, () => {})).toThrow('somebody listens');
    service.close();
    service.close();
    net.close();
  });

  it('lose no more than their connection when they fail', async () => {
    const { net, station } = network();
    net.listen({ port: 7 }, async (stream) => {
      await stream.read();
      throw new Error('a mistake');
    });
    const stream = await station.connect('10.0.2.2', 7);
    await stream.write(Uint8Array.of(1));
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    net.close();
  });

  it('reach guests by themselves', async () => {
    const { net, station } = network();
    station.listen(22, async (stream) => {
      await stream.write(Uint8Array.of(stream.remote.address[3]!));
      await stream.close();
    });
    const four = await net.connect({ port: 22 });
    expect(await four.read()).toEqual(Uint8Array.of(2));
    const six = await net.connect({ address: 'fec0::15', port: 22 });
    expect(await six.read()).toEqual(Uint8Array.of(0));
    await expect(net.connect({ address: '192.0.2.1', port: 22 })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    await expect(net.connect({ port: 0 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await settled();
    net.close();
  });
});
