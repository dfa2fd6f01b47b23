import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Device } from 'virtio/device';
import { type NetDevice, type NetOptions, netDevice } from 'virtio/devices/net';
import { type Cable, connect } from 'virtio/link';
import { type UserNetwork, userNetwork } from 'virtio/network';
import { netTimer, nodeUplink } from 'virtio-node/network';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConsoleSession } from './console-session.ts';
import { sha256 } from './hash.ts';
import { Lossy } from './lossy.ts';
import { ask, freePort, GuestServers, hashOfBytes } from './net-servers.ts';

/** How much is done, as the machine's speed allows. */
export interface NetWork {
  /** Bytes that are downloaded, and uploaded. */
  readonly bytes: number;
  /** Bytes that go each way in all the other ways there are. */
  readonly otherBytes: number;
}

/** One of the guest's networks: a device, a user network with addresses of its own, and the cable between. */
interface Net {
  readonly device: NetDevice;
  readonly network: UserNetwork;
  readonly cable: Cable;
  /** The wire, where it loses frames. */
  readonly lossy: Lossy | undefined;
  /** By which the guest reaches this machine. */
  readonly host: string;
  readonly mac: string;
  /** As the guest calls it: kernels differ in the order in which they find devices. */
  name: string;
}

function makeNet(number: number, options: NetOptions, lossShare = 0): Net {
  const mac = `52:54:00:12:34:0${number}`;
  const device = netDevice({ ...options, mac, timer: netTimer });
  const prefix = `10.0.${number}`;
  const network = userNetwork({
    uplink: nodeUplink(),
    ipv4: { network: `${prefix}.0/24` },
    ipv6: { prefix: `fec0:0:0:${number}::/64` },
    names: { 'known.example': `${prefix}.2` },
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
  });
  const lossy = lossShare > 0 ? new Lossy(network, lossShare) : undefined;
  const cable = connect(device.endpoint, lossy ?? network);
  return { device, network, lossy, cable, mac, name: '', host: `${prefix}.2` };
}

/** The most that a guest's kernel can have, and nothing that makes it quicker. */
const plain = ['MAC', 'STATUS', 'MTU'] as const;

/** A machine under test, its first network device, and where the servers are as seen by that. */
export interface NetRun {
  readonly machine: ConsoleSession;
  readonly device: NetDevice;
  readonly name: string;
  readonly url: string;
}

/**
 * What Linux's own driver does with our network device on our user network: one machine, booted once, with four devices. The
 * first offers everything; the second nothing that Linux can do without; the third has a wire that loses frames; the
 * fourth large packets. Answers what is needed for tests that are added behind these.
 */
export function netSuite(
  boot: (devices: readonly Device[]) => Promise<ConsoleSession>,
  work: NetWork,
  first: NetOptions = {},
): NetRun {
  const { bytes, otherBytes } = work;
  const nets: readonly [Net, Net, Net, Net] = [
    makeNet(2, first),
    makeNet(3, { offers: plain, mtu: 1400 }),
    makeNet(4, {}, 0.02),
    makeNet(5, { mtu: 65_535 }),
  ];
  const [all, bare, lossy, large] = nets;
  let machine: ConsoleSession;
  let servers: GuestServers;
  const urlOf = ({ host }: Net): string => `http://${host}:${servers.port}`;
  const get = (net: Net, path: string): string => `wget -q -O - ${urlOf(net)}/${path}`;
  const download = async (net: Net, length: number): Promise<void> => {
    expect(await machine.text(`${get(net, `bytes/${length}`)} | sha256sum`)).toBe(
      `${hashOfBytes(length)}  -`,
    );
  };
  /** What comes down goes up again at once. */
  const upload = async (net: Net, length: number): Promise<void> => {
    expect(
      await machine.text(
        `${get(net, `bytes/${length}`)} | socat -b 65536 -t 60 - TCP:${net.host}:${servers.sinkPort}`,
      ),
    ).toBe(hashOfBytes(length));
  };

  beforeAll(async () => {
    servers = await GuestServers.start();
    machine = await boot(nets.map(({ device }) => device));
    const found = await machine.text('cd /sys/class/net; grep . eth*/address');
    for (const net of nets) net.name = new RegExp(`(eth\\d)/address:${net.mac}`).exec(found)?.[1] ?? '';
  });
  afterAll(async () => {
    await machine?.stop();
    for (const { cable, network } of nets) {
      cable.close();
      await network.close();
    }
    await servers?.stop();
  });

  test('the driver is bound, and the guest has its addresses by DHCP', async () => {
    const addresses = await machine.text(
      `ip -4 -o addr show scope global | tr -s ' ' | cut -d' ' -f2,4 | sort`,
    );
    const expected = nets.map(({ name, host }) => `${name} ${host.replace(/2$/, '15/24')}`);
    expect(addresses.split('\n')).toEqual(expected.sort());
    expect(await machine.text(`cd /sys/class/net; cat ${bare.name}/mtu ${large.name}/mtu`)).toBe(
      '1400\n65535',
    );
    expect(machine.errors).toEqual([]);
  });

  test('names are known, and what is alive answers', async () => {
    expect(await machine.text('nslookup known.example 10.0.2.3')).toMatch(/Address.*: 10\.0\.2\.2/);
    expect(await machine.text(`wget -q -O - http://known.example:${servers.port}/`)).toMatch(/hello IPv/);
    expect(await machine.text('ping -c 2 -i 0.2 -s 4000 10.0.2.2')).toMatch(/2 packets received/);
    // Beyond the network itself, where this machine lets a process ping at all.
    const own = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === 'IPv4' && !one.internal)?.address;
    if (own !== undefined && (await nodeUplink().echo?.(own, new Uint8Array(8))) === true) {
      // The way out may lead over the wire that loses frames.
      expect(await machine.text(`until ping -c 1 -W 2 ${own}; do :; done`)).toMatch(/1 packets received/);
    }
    const nobody = await machine.exec('nslookup nobody.invalid 10.0.2.3');
    expect(nobody.status).not.toBe(0);
  });

  test(`a download of ${bytes / 1e6} MB and an upload arrive unchanged`, async () => {
    await download(all, bytes);
    await upload(all, bytes);
    expect(machine.errors).toEqual([]);
  });

  test('IPv6 has its addresses by router advertisements, and carries the same', async () => {
    // While its address is not known to be its own the guest sends from that of another device, which has no business here.
    await machine.text(
      `until ip -6 addr show dev ${all.name} | grep fec0 | grep -vq tentative; do sleep 0.1; done`,
    );
    expect(await machine.text('ping -6 -c 1 fec0:0:0:2::2')).toMatch(/1 packets received/);
    const url = `http://[fec0:0:0:2::2]:${servers.port}`;
    expect(await machine.text(`wget -q -O - ${url}/bytes/${otherBytes} | sha256sum`)).toBe(
      `${hashOfBytes(otherBytes)}  -`,
    );
    expect(await machine.text(`wget -q -O - ${url}/`)).toBe('hello IPv6');
  });

  test('a forwarded port leads to a server in the guest', async () => {
    const port = await freePort();
    const forward = await all.network.forward({ protocol: 'tcp', address: '127.0.0.1', port, guestPort: 80 });
    const sent = randomBytes(1_000_000);
    await machine.text(
      'socat TCP-LISTEN:80,fork,reuseaddr EXEC:sha256sum >/dev/null 2>&1 & echo $! >/tmp/server',
    );
    const answers = await Promise.all([1, 2, 3].map(() => ask(port, sent)));
    expect(answers).toEqual([1, 2, 3].map(() => `${sha256(sent)}  -\n`));
    await machine.text('kill $(cat /tmp/server)');
    await forward.close();
  });

  test('50 connections are there at once', async () => {
    const said = await machine.text(
      `for i in $(seq 50); do ${get(all, 'together/50')} & done >/tmp/said; wait; sort -n /tmp/said | tail -1`,
    );
    expect(said).toBe('49');
    expect(servers.together).toBe(50);
  });

  test('buffers of one frame and no offloads do as well', async () => {
    const bits = await machine.text(`cut -c1-57 /sys/class/net/${bare.name}/device/features`);
    // MTU, MAC and STATUS are bits 3, 5 and 16, and VERSION_1 is 32.
    expect([...bits].flatMap((bit, at) => (bit === '1' && at < 28 ? [at] : []))).toEqual([3, 5, 16]);
    await download(bare, otherBytes);
    await upload(bare, otherBytes);
  });

  test('a wire that loses one frame in 50 delays bytes and loses none', async () => {
    await download(lossy, otherBytes);
    await upload(lossy, otherBytes);
    expect(lossy.lossy?.lost).toBeGreaterThan(0);
  });

  test('packets of 64 KiB carry the same', async () => {
    expect(await machine.text('ping -c 1 -s 60000 10.0.5.2')).toMatch(/1 packets received/);
    await download(large, otherBytes);
    await upload(large, otherBytes);
  });

  test('offloads can be switched off and on while it runs', async () => {
    for (const state of ['off', 'on']) {
      await machine.text(`ethtool -K ${all.name} tx ${state} gso ${state} gro ${state} || true`);
      await download(all, otherBytes);
      await upload(all, otherBytes);
    }
    expect(machine.errors).toEqual([]);
  });

  test('the link can be cut and mended', async () => {
    const carrier = (state: number): Promise<string> =>
      machine.text(`until [ "$(cat /sys/class/net/${all.name}/carrier)" = ${state} ]; do sleep 0.1; done`);
    // Once may go well by chance.
    for (let i = 0; i < 5; i++) {
      all.cable.cut();
      await carrier(0);
      all.cable.mend();
      await carrier(1);
    }
    expect(await machine.text(get(all, ''))).toMatch(/hello/);
    expect(machine.errors).toEqual([]);
  });

  return {
    get machine() {
      return machine;
    },
    device: all.device,
    get name() {
      return all.name;
    },
    get url() {
      return urlOf(all);
    },
  };
}

/** For a first device that was made with four pairs of queues. */
export function testFourPairs(suite: NetRun): void {
  test('four pairs of queues are used, and the answers come back', async () => {
    const { machine, device, name } = suite;
    expect(await machine.text(`ethtool -l ${name} | grep Combined`)).toMatch(
      /Combined:\s*4\n.*Combined:\s*[14]/s,
    );
    await machine.text(`ethtool -L ${name} combined 4`);
    expect(await machine.text(`ethtool -l ${name} | grep Combined | tail -1`)).toMatch(/4$/);
    await machine.text(
      `for i in 1 2 3 4 5 6 7 8; do wget -q -O - ${suite.url}/bytes/1000000 >/dev/null & done; wait`,
    );
    expect(device.received.length).toBe(4);
    expect(machine.errors).toEqual([]);
  });
}
