import { describe, expect, it } from 'vitest';
import { idle, pending } from '../../device/idle.fixture.ts';
import { open } from '../../driver/open.ts';
import { status } from '../../spec/status.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { consoleDevice, consoleType, controlEvent, emergencyWrite } from './index.ts';
import { openRaw, rawGuest } from './raw-guest.fixture.ts';

const none = new Uint8Array();
const { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  controlEvent;
const ascii = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0));
const octets = (text: string): Uint8Array => Uint8Array.from(ascii(text));

describe('emergency writes', () => {
  // @holds 5.3.5.1 device: Device Types / Console Device / Device Initialization
  it('come out of a device that no driver has touched, and of one that needs a reset', async () => {
    const out: number[] = [];
    const transport = new Loopback(consoleDevice({ onData: (data) => void out.push(...data) }));
    await emergencyWrite(transport, octets('ok'));
    const { offer } = await openRaw(transport);
    await expect(offer('control transmitq', 0, none, 8)).rejects.toThrow();
    expect(transport.core.status & status.DEVICE_NEEDS_RESET).not.toBe(0);
    await emergencyWrite(transport, octets('!'));
    expect(out).toEqual(ascii('ok!'));
  });

  it('are the low byte of what was written, for a handler of their own if there is one', async () => {
    const emergency: number[] = [];
    const transport = new Loopback(consoleDevice({ onEmergencyWrite: (byte) => emergency.push(byte) }));
    await transport.writeConfig(8, Uint8Array.of(0x41, 2, 3, 4));
    expect(emergency).toEqual([0x41]);
  });

  it('are refused by our driver, and ignored by the device, where the feature is not offered', async () => {
    const emergency: number[] = [];
    const device = consoleDevice({ offers: ['SIZE'], onEmergencyWrite: (byte) => emergency.push(byte) });
    const transport = new Loopback(device);
    await transport.writeConfig(8, Uint8Array.of(0x41, 0, 0, 0));
    await expect(emergencyWrite(transport, octets('x'))).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    expect(emergency).toEqual([]);
  });
});

describe('what the host leaves to itself', () => {
  /** What Node would end the process for. */
  async function unhandled(during: () => void | Promise<void>): Promise<unknown[]> {
    const seen: unknown[] = [];
    const before = process.listeners('unhandledRejection');
    const note = (reason: unknown): void => void seen.push(reason);
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', note);
    try {
      await during();
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.removeListener('unhandledRejection', note);
      for (const listener of before) process.on('unhandledRejection', listener);
    }
    return seen;
  }

  it('is no unhandled rejection when a guest that does not read, or a closed port, loses a write', async () => {
    const device = consoleDevice();
    const lost: Promise<void>[] = [];
    const seen = await unhandled(() => {
      void device.console.write(new Uint8Array(2 ** 20));
      lost.push(device.console.write(octets('too much')));
      device.console.close();
      lost.push(device.console.write(octets('closed')));
    });
    expect(seen).toEqual([]);
    await expect(lost[0]).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    await expect(lost[1]).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it('is no unhandled rejection when the host fails at a character of an emergency write', async () => {
    const errors: unknown[] = [];
    const device = consoleDevice({ onData: () => Promise.reject(new Error('no terminal')) });
    const transport = new Loopback(device, { onError: (error) => void errors.push(error) });
    const seen = await unhandled(() => emergencyWrite(transport, octets('x')));
    expect(seen).toEqual([]);
    expect(errors).toMatchObject([{ name: 'HostError', cause: { message: 'no terminal' } }]);
  });
});

describe('a console device', () => {
  it('offers all three features together, and their fields', async () => {
    const transport = new Loopback(
      consoleDevice({ size: { cols: 132, rows: 43 }, ports: [{}, {}], maxPorts: 9 }),
    );
    const opened = await open(transport, consoleType, { features: ['SIZE', 'MULTIPORT', 'EMERG_WRITE'] });
    expect((['SIZE', 'MULTIPORT', 'EMERG_WRITE'] as const).every((feature) => opened.has(feature))).toBe(
      true,
    );
    expect(opened.config).toEqual({ cols: 132, rows: 43, max_nr_ports: 9, emerg_wr: 0 });
    expect(transport.core.queues.filter(({ maxSize }) => maxSize > 0)).toHaveLength(9 * 2 + 2);
  });

  it('has port 0 alone without MULTIPORT', () => {
    const device = consoleDevice({ offers: ['SIZE'] });
    expect(new Loopback(device).core.queues).toHaveLength(2);
    expect(device.config).toMatchObject({ cols: 80, rows: 25, max_nr_ports: 0 });
    expect(() => device.addPort({ name: 'x' })).toThrow(expect.objectContaining({ code: 'QUEUE_FULL' }));
  });

  it('refuses ports that cannot be', async () => {
    const bad = expect.objectContaining({ code: 'BAD_ARGUMENT' });
    expect(() => consoleDevice({ offers: [], ports: [{}] })).toThrow(bad);
    expect(() => consoleDevice({ maxPorts: 2, ports: [{}, {}] })).toThrow(bad);
    expect(() => consoleDevice({ maxPorts: 1025 })).toThrow(bad);
    expect(() => consoleDevice({ ports: [{ name: 'a' }, { name: 'a' }] })).toThrow(bad);
    const device = consoleDevice({ ports: [{ name: 'a' }] });
    expect(() => device.addPort({ name: 'a' })).toThrow(bad);
    expect(() => device.console.resize(70_000, 1)).toThrow(bad);
    expect(() => device.port('a').resize(80, 25)).toThrow(bad);
    expect(() => device.port('b')).toThrow(expect.objectContaining({ code: 'UNKNOWN_NAME' }));
    await expect(device.removePort(device.console)).rejects.toEqual(bad);
    await expect(device.removePort(consoleDevice({ ports: [{}] }).port(1))).rejects.toEqual(bad);
  });
});

describe('the control queues', () => {
  it('tell the driver everything of a port that it has set up', async () => {
    const device = consoleDevice({ size: { cols: 258, rows: 3 }, ports: [{ name: 'é', open: false }] });
    const { hear, tell } = await rawGuest(device);
    await tell(0, DEVICE_READY, 1);
    expect(await hear()).toEqual([0, DEVICE_ADD, 0]);
    expect(await hear()).toEqual([1, DEVICE_ADD, 0]);
    await tell(1, PORT_READY, 1);
    await tell(0, PORT_READY, 1);
    expect(await hear()).toEqual([1, PORT_NAME, 1, 0xc3, 0xa9]);
    expect(await hear()).toEqual([0, CONSOLE_PORT, 1]);
    expect(await hear()).toEqual([0, RESIZE, 0, 2, 1, 3, 0]);
    expect(await hear()).toEqual([0, PORT_OPEN, 1]);
    device.port(1).open();
    expect(await hear()).toEqual([1, PORT_OPEN, 1]);
    device.port(1).close();
    expect(await hear()).toEqual([1, PORT_OPEN, 0]);
    expect(await pending(hear())).toBe(true);
  });

  it('tell a size rows first where the guest is an old Linux', async () => {
    const { hear, tell } = await rawGuest(consoleDevice({ resizeOrder: 'rows-cols' }));
    await tell(0, DEVICE_READY, 1);
    await hear();
    await tell(0, PORT_READY, 1);
    await hear();
    expect(await hear()).toEqual([0, RESIZE, 0, 25, 0, 80, 0]);
  });

  // @holds 5.3.6.2.1 device: Device Types / Console Device / Device Operation / Multiport Device Operation
  it('add a port once however often the driver is ready, and remove only what was added', async () => {
    const device = consoleDevice({ ports: [{ name: 'a' }], maxPorts: 3 });
    const { hear, tell } = await rawGuest(device);
    for (let times = 0; times < 3; times++) await tell(0, DEVICE_READY, 1);
    expect([await hear(), await hear()]).toEqual([
      [0, DEVICE_ADD, 0],
      [1, DEVICE_ADD, 0],
    ]);
    // Nobody hears of this one: it comes and goes while the driver has given no buffer.
    await device.removePort(device.addPort({ name: 'unheard' }));
    const late = device.addPort({ name: 'late' });
    expect(late.id).toBe(2);
    expect(() => device.addPort({})).toThrow(expect.objectContaining({ code: 'QUEUE_FULL' }));
    expect(await hear()).toEqual([2, DEVICE_ADD, 0]);
    await device.removePort(late);
    await device.removePort(device.port('a'));
    device.addPort({ name: 'b' });
    expect(await hear()).toEqual([2, DEVICE_REMOVE, 0]);
    expect(await hear()).toEqual([1, DEVICE_REMOVE, 0]);
    expect(await hear()).toEqual([1, DEVICE_ADD, 0]);
    // One that was heard of goes, and one that is not heard of comes and goes in its place.
    await device.removePort(device.port('b'));
    await device.removePort(device.addPort({ name: 'c' }));
    expect(await hear()).toEqual([1, DEVICE_REMOVE, 0]);
    expect(await pending(hear())).toBe(true);
  });

  it('hold a few messages for a driver that asks and never listens', async () => {
    const device = consoleDevice();
    const { hear, tell } = await rawGuest(device);
    await tell(0, DEVICE_READY, 1);
    for (let times = 0; times < 500; times++) {
      await tell(0, PORT_READY, 1);
      device.console.resize(times, times);
    }
    const heard = [await hear(), await hear(), await hear(), await hear()];
    expect(heard.map(([, event]) => event)).toEqual([DEVICE_ADD, CONSOLE_PORT, RESIZE, PORT_OPEN]);
    expect(heard[2]).toEqual([0, RESIZE, 0, 499 & 0xff, 499 >> 8, 499 & 0xff, 499 >> 8]);
    expect(await pending(hear())).toBe(true);
  });

  it('ignore ports that are not there, events that nobody knows, and a driver that is not ready', async () => {
    const { hear, tell, errors } = await rawGuest(consoleDevice());
    await tell(0, DEVICE_READY, 0);
    await tell(0, PORT_READY, 1);
    for (const id of [1, 4, 0xffff_ffff]) await tell(id, PORT_OPEN, 1);
    for (const event of [DEVICE_ADD, RESIZE, 8, 0xffff]) await tell(0, event, 1);
    const heard = hear();
    expect(await pending(heard)).toBe(true);
    await tell(0, DEVICE_READY, 1);
    expect(await heard).toEqual([0, DEVICE_ADD, 0]);
    expect(errors).toEqual([]);
  });

  it('cut a name where the buffer ends', async () => {
    const { offer, tell } = await rawGuest(consoleDevice({ ports: [{ name: 'long name' }] }));
    await tell(0, DEVICE_READY, 1);
    await offer('control receiveq', 0, none, 8);
    await offer('control receiveq', 0, none, 8);
    await tell(1, PORT_READY, 1);
    const heard = await offer('control receiveq', 0, none, 12);
    expect(Array.from(heard.subarray(8))).toEqual(ascii('long'));
  });
});

describe('input', () => {
  it('waits for a guest that opens its end, and settles when all of it was taken', async () => {
    const device = consoleDevice();
    const written = device.console.write(octets('hello'));
    const { offer, tell } = await rawGuest(device);
    await tell(0, DEVICE_READY, 1);
    const first = offer('receiveq', 0, none, 3);
    await tell(0, PORT_READY, 1);
    expect(await pending(first)).toBe(true);
    await tell(0, PORT_OPEN, 1);
    expect(device.console.guestOpen).toBe(true);
    expect(await first).toEqual(octets('hel'));
    expect(device.console.waiting).toBe(2);
    expect(await pending(written)).toBe(true);
    expect(await offer('receiveq', 0, none, 100)).toEqual(octets('lo'));
    await expect(written).resolves.toBeUndefined();
    await tell(0, PORT_OPEN, 0);
    expect(await pending(device.console.write(octets('x')))).toBe(true);
  });

  it('flows at once without MULTIPORT, several writes in one buffer', async () => {
    const opens: boolean[] = [];
    const device = consoleDevice({ onGuestOpen: (open) => opens.push(open) });
    const { offer, transport } = await rawGuest(device, ['SIZE']);
    const writes = ['a', 'b', 'c'].map((text) => device.console.write(octets(text)));
    expect(await offer('receiveq', 0, none, 8)).toEqual(octets('abc'));
    await Promise.all(writes);
    await transport.writeStatus(0);
    expect(opens).toEqual([true, false]);
  });

  it('is bounded, and can be discarded', async () => {
    const device = consoleDevice();
    const data = new Uint8Array(2 ** 20);
    const written = device.console.write(data);
    await expect(device.console.write(octets('x'))).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    device.console.discard();
    await expect(written).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    expect(device.console.waiting).toBe(0);
    const last = device.console.write(octets('x'));
    device.console.close();
    await expect(last).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await expect(device.console.write(octets('y'))).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it('waits while the device is suspended, and while its queue is reset', async () => {
    const device = consoleDevice();
    const { offer, opened } = await rawGuest(device, []);
    const first = offer('receiveq', 0, none, 8);
    await opened.suspend();
    void device.console.write(octets('a'));
    expect(await pending(first)).toBe(true);
    await opened.resume();
    expect(await first).toEqual(octets('a'));
    await opened.resetQueue('receiveq');
    void device.console.write(octets('b'));
    await opened.enableQueue('receiveq');
    expect(await offer('receiveq', 0, none, 8)).toEqual(octets('b'));
  });

  it('is a copy', async () => {
    const device = consoleDevice();
    const data = octets('a');
    const written = device.console.write(data);
    data[0] = 0;
    const { offer } = await rawGuest(device, []);
    expect(await offer('receiveq', 0, none, 8)).toEqual(octets('a'));
    await written;
  });
});

describe('output', () => {
  it('goes to its port in pieces of at most 64 KiB, and nowhere while that is closed', async () => {
    const pieces: number[] = [];
    const device = consoleDevice({ ports: [{ onData: ({ length }) => void pieces.push(length) }] });
    const { offer } = await rawGuest(device);
    await offer('transmitq', 1, new Uint8Array(150_000), 0);
    device.port(1).close();
    await offer('transmitq', 1, new Uint8Array(10), 0);
    // There is no port 3, though there are queues for it.
    await offer('transmitq', 3, new Uint8Array(10), 0);
    expect(pieces).toEqual([65_536, 65_536, 18_928]);
  });

  it('keeps its order and the guest waiting while the host takes its time', async () => {
    const taken: number[] = [];
    let release = (): void => {};
    const device = consoleDevice({
      onData(data) {
        taken.push(data.length);
        return new Promise((resolve) => {
          release = resolve;
        });
      },
    });
    const { offer } = await rawGuest(device, []);
    const sent = [
      offer('transmitq', 0, new Uint8Array(70_000), 0),
      offer('transmitq', 0, new Uint8Array(1), 0),
    ];
    expect(await pending(Promise.race(sent))).toBe(true);
    expect(taken).toEqual([65_536]);
    release();
    await idle();
    expect(taken).toEqual([65_536, 4464]);
    release();
    await sent[0];
    expect(taken).toEqual([65_536, 4464, 1]);
    expect(await pending(Promise.all(sent))).toBe(true);
    release();
    await Promise.all(sent);
  });

  it('is given back when its port is removed, before the driver hears of that', async () => {
    const device = consoleDevice({ ports: [{ onData: () => new Promise<void>(() => {}) }] });
    const { offer, tell, hear } = await rawGuest(device);
    await tell(0, DEVICE_READY, 1);
    await hear();
    await hear();
    const order: string[] = [];
    const sent = [1, 2].map((length) => offer('transmitq', 1, new Uint8Array(length), 0));
    const heard = hear().then((message) => order.push(`message ${message}`));
    void Promise.all(sent).then(() => order.push('buffers'));
    expect(await pending(Promise.race(sent))).toBe(true);
    await device.removePort(device.port(1));
    await heard;
    expect(order).toEqual(['buffers', `message ${[1, DEVICE_REMOVE, 0]}`]);
  });

  it('makes the device need a reset when the host fails', async () => {
    const cause = new Error('no terminal');
    const device = consoleDevice({ onData: () => Promise.reject(cause) });
    const { offer, errors } = await rawGuest(device, []);
    await expect(offer('transmitq', 0, octets('x'), 0)).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(errors).toMatchObject([{ code: 'IO_ERROR', cause }]);
  });
});

describe('a hostile driver', () => {
  const clause = 'driver: Device Types / Console Device / Device Operation';
  const attacks = {
    'a readable buffer in a receiveq': { queue: 'receiveq', readable: 1, writable: 8, clause },
    'a writable buffer in a transmitq': { queue: 'transmitq', readable: 0, writable: 8, clause },
    'a buffer with both in a transmitq': { queue: 'transmitq', readable: 8, writable: 8, clause },
    'a readable buffer in the control receiveq': {
      queue: 'control receiveq',
      readable: 8,
      writable: 64,
      clause,
    },
    'a control buffer too short for a header': {
      queue: 'control receiveq',
      readable: 0,
      writable: 7,
      clause: undefined,
    },
    'a writable buffer in the control transmitq': {
      queue: 'control transmitq',
      readable: 8,
      writable: 1,
      clause,
    },
    'a short control message': { queue: 'control transmitq', readable: 7, writable: 0, clause: undefined },
  } as const;

  for (const [what, { queue, readable, writable, clause: broken }] of Object.entries(attacks)) {
    it(`makes the device need a reset by ${what}, and no more`, async () => {
      const out: number[] = [];
      const device = consoleDevice({ onData: (data) => void out.push(...data) });
      const { transport, offer, tell, hear, errors } = await rawGuest(device);
      await tell(0, DEVICE_READY, 1);
      await hear();
      await tell(0, PORT_OPEN, 1);
      const lost = offer(queue, 0, new Uint8Array(readable), writable);
      const failed = expect(lost).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
      // What the host does meanwhile does not throw at the host.
      void device.console.write(octets('input'));
      device.addPort({ name: 'more' });
      await failed;
      expect(errors).toMatchObject([{ code: 'BAD_REQUEST', clause: broken }]);
      expect(transport.core.status & status.DEVICE_NEEDS_RESET).not.toBe(0);

      const again = await openRaw(transport);
      await again.tell(0, DEVICE_READY, 1);
      expect(await again.hear()).toEqual([0, DEVICE_ADD, 0]);
      await again.offer('transmitq', 0, octets('after'), 0);
      expect(out).toEqual(ascii('after'));
    });
  }
});

describe('a reset in mid-flight', () => {
  it('ignores what the host finishes late, and gives the next driver its own output after it', async () => {
    const taken: string[] = [];
    let release = (): void => {};
    const device = consoleDevice({
      onData(data) {
        taken.push(String.fromCharCode(...data));
        return new Promise((resolve) => {
          release = resolve;
        });
      },
    });
    const { transport, offer, errors } = await rawGuest(device, []);
    void offer('transmitq', 0, octets('old'), 0);
    void offer('transmitq', 0, octets('never'), 0);
    await transport.writeStatus(0);
    const again = await openRaw(transport, []);
    const sent = again.offer('transmitq', 0, octets('new'), 0);
    await idle();
    release();
    await idle();
    release();
    await sent;
    expect(taken).toEqual(['old', 'new']);
    expect(errors).toEqual([]);
  });

  it('keeps input that no guest has taken, and forgets what the old driver was told', async () => {
    const device = consoleDevice({ ports: [{ name: 'a' }] });
    const { transport, tell, hear } = await rawGuest(device);
    await tell(0, DEVICE_READY, 1);
    expect(await hear()).toEqual([0, DEVICE_ADD, 0]);
    const written = device.port('a').write(octets('kept'));
    const again = await openRaw(transport);
    const heard = again.hear();
    expect(await pending(heard)).toBe(true);
    await again.tell(0, DEVICE_READY, 1);
    expect([await heard, await again.hear()]).toEqual([
      [0, DEVICE_ADD, 0],
      [1, DEVICE_ADD, 0],
    ]);
    await again.tell(1, PORT_OPEN, 1);
    expect(await again.offer('receiveq', 1, none, 8)).toEqual(octets('kept'));
    await written;
  });
});
