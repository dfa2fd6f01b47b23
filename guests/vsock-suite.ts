import { randomBytes } from 'node:crypto';
import {
  openVsock,
  type VsockDevice,
  type VsockSeqpacket,
  type VsockStream,
  VsockSwitch,
  vsockDevice,
} from 'virtio/devices/vsock';
import { HostError } from 'virtio/errors';
import { Loopback } from 'virtio/transports/loopback';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConsoleSession } from './console-session.ts';
import { sha256, sha256Of } from './hash.ts';

/** What the guest has beside what every guest has. */
export const vsockGuest = { modules: ['vmw_vsock_virtio_transport'], programs: ['socat'] } as const;

/** Ports of the host: it gives back what it gets, takes and gives bytes, counts connections, and waits. */
const port = {
  echo: 1024,
  sink: 1025,
  source: 1026,
  messages: 1027,
  visits: 1028,
  stalled: 1029,
  slow: 1030,
  interrupted: 1031,
  after: 1032,
  piece: 1033,
} as const;

const guestCid = 42;
/** Of a guest that is a program of ours, on the same switch. */
const siblingCid = 50;
/** How much is done, as the machine's speed allows. */
export interface VsockWork {
  /** Bytes in each direction: so many times some random ones, each time behind a line that counts. */
  readonly pieces: number;
  readonly pieceLength: number;
  /** Connections that are opened and closed. */
  readonly visits: number;
}

/** What Linux's own driver does with our socket device, by socat in the guest: one machine, booted once. */
export function vsockSuite(boot: (device: VsockDevice) => Promise<ConsoleSession>, work: VsockWork): void {
  const device = vsockDevice({ guestCid });
  const { pieces, pieceLength, visits } = work;
  const megabytes = (pieces * pieceLength) / 1e6;
  const piece = randomBytes(pieceLength);
  let machine: ConsoleSession;
  /** What came to the port of this name. */
  let sink: Promise<string> = Promise.resolve('');
  let visited = 0;

  beforeAll(async () => {
    device.listen(port.echo, async (stream) => {
      for await (const piece of stream) await stream.write(piece);
      stream.end();
    });
    device.listen(port.sink, (stream) => {
      sink = sha256Of(stream);
    });
    device.listen(port.source, async (stream) => {
      for (let count = 0; count < pieces; count++) {
        await stream.write(lineOf(count));
        await writeAll(stream, piece);
      }
      stream.end();
    });
    device.listen(port.piece, async (stream) => {
      await writeAll(stream, piece);
      stream.end();
    });
    device.listen(port.visits, async (stream) => {
      visited++;
      await stream.write(Buffer.from(`visit ${visited}\n`));
      await stream.close();
    });
    machine = await boot(device);
    await machine.text('modprobe vmw_vsock_virtio_transport');
  });
  afterAll(() => machine?.stop());

  test('the driver is bound', async () => {
    expect(await machine.text('ls -d /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*')).toMatch(
      /virtio\d$/,
    );
    expect(machine.errors).toEqual([]);
  });

  test(`a stream carries ${megabytes} MB into the guest unchanged`, async () => {
    const said = await machine.text(`socat -b 65536 -u VSOCK-CONNECT:2:${port.source} - | sha256sum`);
    expect(said).toBe(`${expectedHash(piece, pieces)}  -`);
  });

  test(`a stream carries ${megabytes} MB out of the guest unchanged`, async () => {
    await machine.text(`socat -b 65536 -u VSOCK-CONNECT:2:${port.piece} - >/tmp/r`);
    await machine.text(
      `i=0; while [ $i -lt ${pieces} ]; do echo $i; cat /tmp/r; echo . >&2; i=$((i+1)); done |
       socat -b 65536 -u - VSOCK-CONNECT:2:${port.sink}; rm /tmp/r`,
    );
    expect(await sink).toBe(expectedHash(piece, pieces));
  });

  test('a socket of the guest with a small buffer is not kept waiting', async () => {
    // SO_VM_SOCKETS_BUFFER_SIZE, 8 KiB. Linux sends no more at a time than its own buffer holds.
    const small = 'setsockopt=40:0:x0020000000000000';
    const total = 200_000;
    await machine.text(
      `head -c ${total} /dev/zero | socat -b 65536 -u - VSOCK-CONNECT:2:${port.sink},${small}`,
    );
    expect(await sink).toBe(sha256(Buffer.alloc(total)));
  });

  test('the host connects to a server in the guest, and both halves end by themselves', async () => {
    await machine.text('socat VSOCK-LISTEN:5000,fork EXEC:sha256sum & echo $! >/tmp/server');
    await whenListening(() => device.connect(5000)).then((stream) => stream.close());
    const answers = await Promise.all(
      [1, 2, 3].map(async (seed) => {
        const data = Buffer.alloc(100_000, seed);
        const stream = await device.connect(5000);
        await writeAll(stream, data);
        stream.end();
        const answer = Buffer.concat(await readAll(stream)).toString();
        await stream.closed;
        return [answer, `${sha256(data)}  -\n`];
      }),
    );
    for (const [answer, expected] of answers) expect(answer).toBe(expected);
    await machine.text('kill $(cat /tmp/server); while [ -e /proc/$(cat /tmp/server) ]; do sleep 0.1; done');
    await expect(device.connect(5000)).rejects.toMatchObject({ code: 'CONNECTION_REFUSED' });
    const refused = await machine.exec('socat - VSOCK-CONNECT:2:9999 </dev/null');
    expect(refused.status).toBe(1);
    expect(refused.output.toString()).toMatch(/reset by peer/i);
  });

  test('seqpacket messages are relayed whole', async () => {
    const back = new Promise<VsockSeqpacket>(
      (resolve) => void device.listenSeqpacket(port.messages, resolve),
    );
    await machine.text(
      `socat -b 70000 VSOCK-LISTEN:5001,type=5 VSOCK-CONNECT:2:${port.messages},type=5 >/dev/null 2>&1 &`,
    );
    const out = await whenListening(() => device.connectSeqpacket(5001));
    const into = await back;
    const messages = [1, 70_000, 2, 4052, 4053, 65_536, 65_537, 3].map((size, at) =>
      Buffer.alloc(size, 65 + at),
    );
    const written = (async () => {
      for (const message of messages) await out.send(message);
      out.end();
    })();
    const received: string[] = [];
    for await (const { data } of into) received.push(`${data.length} ${sha256(data)}`);
    expect(received).toEqual(messages.map((message) => `${message.length} ${sha256(message)}`));
    await written;
    await into.close();
  });

  test('another guest is reached by its CID, and reaches this one', async () => {
    const bridge = new VsockSwitch();
    const other = vsockDevice({ guestCid: siblingCid });
    const places = [bridge.add(device), bridge.add(other)];
    const sibling = await openVsock(new Loopback(other));
    const peers: number[] = [];
    sibling.listen(port.echo, async (stream) => {
      peers.push(stream.peerCid);
      for await (const piece of stream) await stream.write(piece);
      stream.end();
    });
    const connect = `VSOCK-CONNECT:${siblingCid}`;
    const bytes = 300_000;
    const way = `head -c ${bytes} /dev/urandom >/tmp/r; sha256sum </tmp/r; socat -b 65536 -t 60 - ${connect}:${port.echo}`;
    const [sent, back] = (await machine.text(`${way} </tmp/r | sha256sum; rm /tmp/r`)).split('\n');
    expect(back).toBe(sent);
    expect(peers).toEqual([guestCid]);
    const refused = await machine.exec(`socat - ${connect}:9999 </dev/null`);
    expect(refused.output.toString()).toMatch(/reset by peer/i);

    await machine.text('socat VSOCK-LISTEN:5002 EXEC:sha256sum 2>/tmp/said & echo $! >/tmp/server');
    const data = Buffer.alloc(100_000, 7);
    const stream = await whenListening(() => sibling.connect(5002, guestCid));
    await writeAll(stream, data);
    stream.end();
    expect(Buffer.concat(await readAll(stream)).toString()).toBe(`${sha256(data)}  -\n`);
    for (const place of places) place.remove();
    await sibling.close();
    expect(machine.errors).toEqual([]);
  });

  test(`${visits} connections are opened and closed`, async () => {
    const said = await machine.text(
      `i=0; while [ $i -lt ${visits} ]; do socat -u VSOCK-CONNECT:2:${port.visits} -; i=$((i+1)); done | tail -1`,
    );
    expect(said).toBe(`visit ${visits}`);
    expect(visited).toBe(visits);
    expect(machine.errors).toEqual([]);
  });

  test('a reader in the guest that stalls holds back its own connection alone', async () => {
    const taken = new Promise<VsockStream>((resolve) => void device.listen(port.stalled, resolve));
    await machine.text(`socat -u VSOCK-CONNECT:2:${port.stalled} CREATE:/tmp/got & echo $! >/tmp/reader`);
    const stream = await taken;
    await machine.text('kill -STOP $(cat /tmp/reader)');
    const total = 2 ** 22;
    let written = 0;
    const writing = (async () => {
      for (; written < total; written += 16_384) await stream.write(Buffer.alloc(16_384, 1));
      stream.end();
    })();
    const other = `echo beside | socat -t 60 - VSOCK-CONNECT:2:${port.echo}`;
    for (let before = -1; before !== written; ) {
      before = written;
      expect(await machine.text(other)).toBe('beside');
    }
    // Linux has a buffer of 256 KiB for each connection.
    expect(written).toBeLessThan(2 ** 19);
    await machine.text('kill -CONT $(cat /tmp/reader)');
    await writing;
    await machine.text(`until [ "$(wc -c </tmp/got)" = ${total} ]; do sleep 0.1; done; rm /tmp/got`);
  });

  test('a reader on the host that stalls holds back its own connection alone', async () => {
    const taken = new Promise<VsockStream>((resolve) => void device.listen(port.slow, resolve));
    const total = 4_000_000;
    await machine.text(
      `(head -c ${total} /dev/zero | socat -u - VSOCK-CONNECT:2:${port.slow}; touch /tmp/sent) &`,
    );
    const stream = await taken;
    for (let i = 0; i < 3; i++) {
      expect(await machine.text(`echo beside | socat -t 60 - VSOCK-CONNECT:2:${port.echo}`)).toBe('beside');
    }
    expect((await machine.exec('[ -e /tmp/sent ]')).status).toBe(1);
    const received = await readAll(stream);
    expect(received.reduce((sum, { length }) => sum + length, 0)).toBe(total);
  });

  test('a transport reset ends connections, and the guest goes on with another CID', async () => {
    const taken = new Promise<VsockStream>((resolve) => void device.listen(port.interrupted, resolve));
    await machine.text(
      `mkfifo /tmp/never; (socat - VSOCK-CONNECT:2:${port.interrupted} <>/tmp/never; touch /tmp/over) &`,
    );
    const stream = await taken;
    device.transportReset(77);
    await expect(stream.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    await machine.text('until [ -e /tmp/over ]; do sleep 0.1; done');
    const next = new Promise<VsockStream>((resolve) => void device.listen(port.after, resolve));
    await machine.text(`echo hi | socat -u - VSOCK-CONNECT:2:${port.after}`);
    expect((await next).peerCid).toBe(77);
    expect(machine.errors).toEqual([]);
  });
}

const lineOf = (count: number): Buffer => Buffer.from(`${count}\n`);

/** The hash of so many pieces, each behind its line. */
function expectedHash(piece: Uint8Array, pieces: number): string {
  return sha256(...Array.from({ length: pieces }, (_, count) => [lineOf(count), piece]).flat());
}

/** The guest starts its programs in its own time. */
async function whenListening<T>(connect: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== 'CONNECTION_REFUSED') throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function readAll(stream: VsockStream): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const bytes of stream) pieces.push(bytes);
  return pieces;
}

/** Sends in pieces, each when the one before was taken. */
async function writeAll(stream: VsockStream, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += 65_536) await stream.write(bytes.subarray(at, at + 65_536));
}
