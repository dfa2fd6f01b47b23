import { describe, expect, it } from 'vitest';
import type { ActiveQueue } from '../../device/active-queue.ts';
import { type ActiveDevice, type Device, device } from '../../device/device.ts';
import { idle } from '../../device/idle.fixture.ts';
import { Allocator } from '../../memory/allocator.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import {
  consoleDevice,
  consoleType,
  controlEvent,
  openConsole,
  virtio_console_control,
  virtio_console_resize,
} from './index.ts';

const { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME } =
  controlEvent;
const octets = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A device that says what a test wants, right or wrong, and writes down what it hears. */
class Scripted {
  /** `[id, event, value]` of each message of the driver. */
  readonly heard: number[][] = [];
  /** `[queue, readable, writable]` of each buffer that is not a control message. */
  readonly buffers: (readonly [string, number, number])[] = [];
  readonly device: Device<typeof consoleType>;
  /** Answers come only while this is set. */
  listens = true;
  #active: ActiveDevice<typeof consoleType> | undefined;

  constructor(maxPorts = 4, queues = 4) {
    const note = (
      { label }: ActiveQueue,
      { readable, writable }: { readable: { length: number }; writable: { length: number } },
    ) => void this.buffers.push([label, readable.length, writable.length]);
    this.device = device(consoleType, {
      offers: ['SIZE', 'MULTIPORT', 'EMERG_WRITE'],
      config: { cols: 80, rows: 25, max_nr_ports: maxPorts },
      queues: { receiveq: { count: queues }, transmitq: { count: queues } },
      activate: (active) => {
        this.#active = active;
      },
      serve: {
        transmitq: (chain, queue) => note(queue, chain),
        'control transmitq': (chain, queue) => {
          note(queue, chain);
          const { id, event, value } = chain.readable.struct(virtio_console_control);
          this.heard.push([id, event, value]);
          return this.listens ? undefined : new Promise<void>(() => {});
        },
      },
    });
  }

  /** Sends raw bytes in the next buffer of a queue; false when the driver has given none. */
  put(bytes: Uint8Array, queue: 'receiveq' | 'control receiveq' = 'control receiveq', number = 0): boolean {
    const active = this.#active?.queue(queue, number);
    const chain = active?.take();
    if (active === undefined || chain === undefined) return false;
    this.buffers.push([active.label, chain.readable.length, chain.writable.length]);
    chain.writable.write(bytes);
    active.complete(chain);
    return true;
  }

  say(id: number, event: number, value = 0, payload: Iterable<number> = []): boolean {
    return this.put(Uint8Array.from([...virtio_console_control.encode({ id, event, value }), ...payload]));
  }
}

describe('openConsole', () => {
  // @holds 5.3.6.2.2 driver: Device Types / Console Device / Device Operation / Multiport Device Operation
  it('says that it is ready, and opens a port that it is told to be a console', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    expect(scripted.heard).toEqual([[0, DEVICE_READY, 1]]);
    scripted.say(2, DEVICE_ADD);
    const port = await opened.port(2);
    await idle();
    expect(scripted.heard.at(-1)).toEqual([2, PORT_READY, 1]);
    expect(port.isConsole).toBe(false);
    scripted.say(2, CONSOLE_PORT, 1);
    await idle();
    expect(scripted.heard.at(-1)).toEqual([2, PORT_OPEN, 1]);
    expect(port.isConsole).toBe(true);
  });

  // @holds 5.3.6.1 driver: Device Types / Console Device / Device Operation
  it('puts writable buffers alone in receiveqs, and readable ones alone in transmitqs', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    scripted.say(0, DEVICE_ADD);
    const port = await opened.port(0);
    await idle();
    await port.write(new Uint8Array(100_000));
    for (let i = 0; i < 20; i++) {
      scripted.put(octets('x'), 'receiveq');
      await port.read();
    }
    const labels = new Set(scripted.buffers.map(([label]) => label));
    expect(labels).toEqual(new Set(['control receiveq', 'control transmitq', 'receiveq0', 'transmitq0']));
    for (const [label, readable, writable] of scripted.buffers) {
      expect(label.includes('receiveq') ? readable : writable).toBe(0);
      expect(label.includes('receiveq') ? writable : readable).toBeGreaterThan(0);
    }
  });

  it('follows names, sizes, and the ends that the device opens', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    const named = opened.port('é');
    scripted.say(1, DEVICE_ADD);
    const port = await opened.port(1);
    expect(port.size).toBeUndefined();
    const opens: boolean[] = [];
    port.onHostOpen = (open) => opens.push(open);
    scripted.say(1, PORT_NAME, 1, [0xc3, 0xa9]);
    scripted.say(1, PORT_OPEN, 1);
    scripted.say(1, RESIZE, 0, virtio_console_resize.encode({ cols: 7, rows: 8 }));
    scripted.say(1, PORT_OPEN, 0);
    expect(await named).toBe(port);
    await idle();
    expect(opens).toEqual([true, false]);
    expect(port.size).toEqual({ cols: 7, rows: 8 });
  });

  it('takes a name that ends in NUL, as QEMU sends it', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    const named = opened.port('ab');
    scripted.say(1, DEVICE_ADD);
    scripted.say(1, PORT_NAME, 1, [0x61, 0x62, 0]);
    expect((await named).name).toBe('ab');
  });

  it('reads the size of port 0 from the configuration, and again when that changes', async () => {
    const made = consoleDevice({ offers: ['SIZE'], size: { cols: 90, rows: 40 } });
    const port = await (await openConsole(new Loopback(made))).port(0);
    expect(port.size).toEqual({ cols: 90, rows: 40 });
    const resized = new Promise((resolve) => {
      port.onResize = resolve;
    });
    made.console.resize(120, 50);
    expect(await resized).toEqual({ cols: 120, rows: 50 });
  });

  it('is content with a device that offers nothing', async () => {
    const out: number[] = [];
    const made = consoleDevice({ offers: [], onData: (data) => void out.push(...data) });
    const opened = await openConsole(new Loopback(made));
    const port = await opened.port(0);
    expect([opened.multiport, port.isConsole, port.size]).toEqual([false, true, undefined]);
    await port.write(octets('hi'));
    expect(out).toEqual([...octets('hi')]);
    await expect(opened.emergencyWrite(octets('x'))).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
  });

  it('ends reading, and fails what waits, when it is closed', async () => {
    const opened = await openConsole(new Loopback(consoleDevice()));
    const port = await opened.port(0);
    const [read, never] = [port.read(), opened.port('never')];
    const failed = expect(never).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await opened.close();
    expect(await read).toBeUndefined();
    await failed;
    await expect(opened.port('never')).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    const seen: unknown[] = [];
    for await (const bytes of port) seen.push(bytes);
    expect(seen).toEqual([]);
  });
});

describe('a hostile device', () => {
  const clause = 'device: Device Types / Console Device / Device Operation / Multiport Device Operation';
  const attacks: Record<string, (scripted: Scripted) => void> = {
    'adds a port that cannot be': (scripted) => scripted.say(4, DEVICE_ADD),
    'adds a port with the highest number there is': (scripted) => scripted.say(0xffff_ffff, DEVICE_ADD),
    'adds a port twice': (scripted) => [1, 1].forEach((id) => void scripted.say(id, DEVICE_ADD)),
    'removes a port that is not there': (scripted) => scripted.say(1, DEVICE_REMOVE),
    'removes a port twice': (scripted) =>
      [DEVICE_ADD, DEVICE_REMOVE, DEVICE_REMOVE].forEach((event) => void scripted.say(1, event)),
    'sends half a header': (scripted) => scripted.put(Uint8Array.of(0, 0, 0, 0)),
    'sends an empty message': (scripted) => scripted.put(new Uint8Array()),
    'sends a RESIZE without a size': (scripted) => {
      scripted.say(0, DEVICE_ADD);
      scripted.say(0, RESIZE, 0, [1, 2, 3]);
    },
  };

  for (const [what, attack] of Object.entries(attacks)) {
    it(`that ${what} is given up, and what waits for it fails`, async () => {
      const scripted = new Scripted();
      const failures: Error[] = [];
      const opened = await openConsole(new Loopback(scripted.device), {
        onFailure: (error) => failures.push(error),
      });
      const never = expect(opened.port('never')).rejects.toMatchObject({ code: 'BAD_RESPONSE', clause });
      attack(scripted);
      await never;
      expect(failures).toHaveLength(1);
      await expect(opened.port('late')).rejects.toBe(failures[0]);
      await opened.close();
      expect(failures).toHaveLength(1);
    });
  }

  it('with a great many ports costs no more than the driver allows, and is told which it cannot have', async () => {
    const scripted = new Scripted(0xffff_ffff, 8);
    const opened = await openConsole(new Loopback(scripted.device), { maxPorts: 2 });
    scripted.say(0xffff_fffe, DEVICE_ADD);
    scripted.say(1, DEVICE_ADD);
    await opened.port(1);
    scripted.say(0xffff_fffe, CONSOLE_PORT);
    scripted.say(0xffff_fffe, DEVICE_REMOVE);
    await idle();
    expect(scripted.heard.slice(1)).toEqual([
      [0xffff_fffe, PORT_READY, 0],
      [1, PORT_READY, 1],
    ]);
    expect(opened.ports).toHaveLength(1);
  });

  it('without any port is not opened', async () => {
    await expect(openConsole(new Loopback(new Scripted(0).device))).rejects.toMatchObject({
      code: 'LAYOUT_INVALID',
    });
  });

  it('that asks and does not listen to the answers is not heard any more', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    scripted.listens = false;
    scripted.say(1, DEVICE_ADD);
    await opened.port(1);
    let asked = 0;
    for (let times = 0; times < 100; times++) {
      if (scripted.say(1, CONSOLE_PORT)) asked++;
      await idle();
    }
    expect(asked).toBe(7);
  });

  it('may use names that are no UTF-8, unknown events, and empty buffers', async () => {
    const scripted = new Scripted();
    const failures: Error[] = [];
    const opened = await openConsole(new Loopback(scripted.device), {
      onFailure: (error) => failures.push(error),
    });
    scripted.say(1, DEVICE_ADD);
    const port = await opened.port(1);
    scripted.say(1, 0xffff, 1);
    scripted.say(1, PORT_NAME, 1, [0x41, 0xff]);
    expect(await opened.port('A\ufffd')).toBe(port);
    for (let times = 0; times < 100; times++) {
      scripted.put(new Uint8Array(), 'receiveq', 1);
      await idle();
    }
    scripted.put(octets('x'), 'receiveq', 1);
    expect(await port.read()).toEqual(octets('x'));
    expect(failures).toEqual([]);
  });

  it('holds no more of the driver than its buffers while nobody reads', async () => {
    const scripted = new Scripted();
    const opened = await openConsole(new Loopback(scripted.device));
    scripted.say(1, DEVICE_ADD);
    const port = await opened.port(1);
    let given = 0;
    for (let times = 0; times < 100; times++) {
      if (scripted.put(Uint8Array.of(times), 'receiveq', 1)) given++;
      await idle();
    }
    expect(given).toBe(8);
    for (let at = 0; at < given; at++) expect(await port.read()).toEqual(Uint8Array.of(at));
    expect(scripted.put(Uint8Array.of(8), 'receiveq', 1)).toBe(true);
  });

  it('that breaks while a program reads and writes fails both', async () => {
    const transport = new Loopback(consoleDevice({ onData: () => Promise.reject(new Error('host')) }));
    const opened = await openConsole(transport);
    const port = await opened.port(0);
    const read = expect(port.read()).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    await expect(port.write(octets('x'))).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    await read;
  });
});

describe('the memory of a console', () => {
  const memory = GuestMemory.ofSize(2 ** 20);
  const shared = () => {
    const allocator = new Allocator(4096, 2 ** 20 - 4096);
    return { memory, allocator, before: allocator.available };
  };

  it.each([true, false])('is all given back when it is closed; multiport: %s', async (multiport) => {
    const { allocator, before } = shared();
    const made = consoleDevice({ offers: multiport ? ['SIZE', 'MULTIPORT'] : ['SIZE'] });
    for (let time = 0; time < 20; time++) {
      const opened = await openConsole(new Loopback(made, { memory, allocator }));
      const port = await opened.port(0);
      await made.console.write(octets('unread'));
      expect(allocator.available).toBeLessThan(before);
      await opened.close();
      expect(allocator.available).toBe(before);
      // What came in time can be read all the same, whoever has the memory now.
      memory.write(4096, new Uint8Array(2 ** 19));
      expect(await port.read()).toEqual(octets('unread'));
      expect(await port.read()).toBeUndefined();
    }
  });

  it('is given back, and the device reset, when there is too little of it', async () => {
    for (const length of [60_000, 100_000, 130_000]) {
      const allocator = new Allocator(4096, length);
      const loopback = new Loopback(consoleDevice({ offers: ['SIZE'] }), { memory, allocator });
      await expect(openConsole(loopback)).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
      expect(allocator.available).toBe(length);
      expect(loopback.core.status).toBe(0);
    }
  });
});
