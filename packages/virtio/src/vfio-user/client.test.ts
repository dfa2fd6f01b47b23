import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { channelPair } from '../channel/in-memory.ts';
import { SharedMemory } from '../channel/shared-memory.ts';
import { VirtioError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { joined } from '../spec/joined.ts';
import { fixtures, fixturesOn } from '../testing/fixtures/index.ts';
import type { PciAccess } from '../transports/pci/access.ts';
import { room } from '../transports/pci/connect.ts';
import { legacyOnly, transitional } from '../transports/pci/legacy-device.ts';
import { openPci } from '../transports/pci/open-pci.ts';
import type { PciFunctionOptions } from '../transports/pci/options.ts';
import { encodeVersion } from './capabilities.ts';
import { VfioUserClient } from './client.ts';
import { VfioPciFunction } from './client-function.ts';
import {
  commands,
  errno,
  headerFlag,
  irq,
  region,
  vfio_irq_info,
  vfio_region_info,
  vfio_user_device_info,
  vfio_user_dma_access,
  vfio_user_mig_data,
  vfio_user_region_access,
  vfio_user_region_io_fds,
  vfio_user_sub_region_ioeventfd,
} from './messages.ts';
import { Served, Wire } from './vfio-user.fixture.ts';

type Opened = Awaited<ReturnType<typeof openPci>>;

const ways: readonly {
  readonly way: string;
  readonly pciFunction: Partial<PciFunctionOptions>;
  open(access: PciAccess): Promise<Opened>;
}[] = [
  { way: 'a modern function, by vectors', pciFunction: {}, open: (access) => openPci(access, { room }) },
  {
    way: 'a modern function, by its line',
    pciFunction: { msixVectors: 0 },
    open: (access) => openPci(access, { room }),
  },
  {
    way: 'a transitional function',
    pciFunction: { legacy: transitional() },
    open: (access) => openPci(access, { room }),
  },
  {
    way: 'a transitional function by its legacy interface',
    pciFunction: { legacy: transitional() },
    open: (access) => openPci(access, { room, prefer: 'legacy' }),
  },
  {
    way: 'a legacy function, by its line, of a big-endian guest',
    pciFunction: { legacy: legacyOnly({ endian: 'big' }) },
    open: (access) => openPci(access, { room, vectors: 0, endian: 'big' }),
  },
  {
    way: 'a function that tells its queues apart by the value alone',
    pciFunction: { notifyMultiplier: 0 },
    open: (access) => openPci(access, { room }),
  },
];

const features = {
  legacy: ['EVENT_IDX', 'INDIRECT_DESC'],
  modern: ['VERSION_1', 'RING_PACKED', 'EVENT_IDX'],
} as const;

describe.each(fixtures)('the $name behind vfio-user', (fixture) => {
  const old = fixturesOn({ legacy: true }).includes(fixture);
  it.each(ways.filter(({ pciFunction }) => old || pciFunction?.legacy === undefined))(
    'does all that it can do as $way',
    async ({ way, pciFunction, open }) => {
      const reserved = way.includes('legacy') ? features.legacy : features.modern;
      const served = new Served(fixture.make(['VERSION_1', ...reserved]), pciFunction);
      const shared = served.sharedMemory(4 * 2 ** 20);
      const { descriptors } = served;
      const opened = await VfioPciFunction.open(served.connect(), { descriptors, shared });
      const transport = await open(opened);
      expect(transport.interrupts.choice).toBe(way.includes('line') ? 'intx' : 'msix');
      await fixture.exercise(transport, { reserved, indirectPolicy: 'never' });
      expect([served.errors, served.violations]).toEqual([[], []]);
      opened.close();
      shared.close();
      await served.expectNothingLeft();
    },
  );
});

describe('a vfio-user client', () => {
  /** A client and the server's end of its connection, which has said its version. */
  async function pair(
    memory?: GuestMemory,
    max_data_xfer_size = 64,
  ): Promise<{ client: VfioUserClient; wire: Wire }> {
    const [theirs, ours] = channelPair();
    const wire = new Wire(theirs);
    const connecting = VfioUserClient.connect(ours, memory === undefined ? {} : { memory });
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.send('VERSION', encodeVersion({ max_data_xfer_size }), { flags: headerFlag.REPLY, id: 0 });
    return { client: await connecting, wire };
  }

  /** Answers the next command. */
  async function answer(wire: Wire, payload: Uint8Array, flags: number = headerFlag.REPLY): Promise<void> {
    const before = wire.messages.length;
    await vi.waitFor(() => expect(wire.messages.length).toBeGreaterThanOrEqual(Math.max(2, before)));
    const { id, command } = wire.messages.at(-1)!;
    wire.send(command, payload, { flags, id });
  }

  it('answers for the memory that a server was given, and for no other', async () => {
    const { client, wire } = await pair(GuestMemory.ofSize(16_384));
    const access = (address: number, count: number): Uint8Array =>
      vfio_user_dma_access.encode({ address: BigInt(address), count: BigInt(count) });
    wire.answering = ({ command, id }) =>
      wire.send(command, new Uint8Array(0), { id, flags: headerFlag.REPLY });
    await client.mapMemory({ address: 0, size: 4096 });
    await client.mapMemory({ address: 4096, size: 4096 });
    const write = await wire.ask('DMA_WRITE', joined(access(4095, 3), Uint8Array.of(1, 2, 3)));
    expect(write.error).toBe(0);
    const read = await wire.ask('DMA_READ', access(4094, 4));
    expect([...read.payload.subarray(16)]).toEqual([0, 1, 2, 3]);
    expect(await wire.refusal('DMA_READ', access(8190, 8))).toBe(errno.EFAULT);
    expect(await wire.refusal('DMA_READ', access(12_288, 8))).toBe(errno.EFAULT);
    expect(await wire.refusal('DMA_READ', access(2 ** 53, 1))).toBe(errno.EINVAL);
    expect(await wire.refusal('DMA_READ', access(0, 2 ** 21))).toBe(errno.E2BIG);
    expect(await wire.refusal('DMA_READ', joined(access(0, 1), Uint8Array.of(0)))).toBe(errno.EINVAL);
    expect(await wire.refusal('DMA_WRITE', access(0, 2))).toBe(errno.EINVAL);
    expect(await wire.refusal('DMA_WRITE', new Uint8Array(15))).toBe(errno.EINVAL);
    expect(await wire.refusal('DEVICE_RESET')).toBe(errno.EINVAL);
    await client.unmapMemory({ address: 4096, size: 4096 });
    expect(await wire.refusal('DMA_READ', access(4095, 2))).toBe(errno.EFAULT);
    expect(await wire.refusal('DMA_READ', access(4095, 1))).toBe(0);
    wire.answering = ({ command, id }) =>
      wire.send(command, new Uint8Array(0), { id, flags: headerFlag.REPLY | headerFlag.ERROR });
    await expect(client.mapMemory({ address: 8192, size: 4096 })).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(await wire.refusal('DMA_READ', access(8192, 1))).toBe(errno.EFAULT);
    client.close();
  });

  it('says what the server refused, and keeps to its limits', async () => {
    const { client, wire } = await pair();
    const reset = client.reset();
    await vi.waitFor(() => expect(wire.messages).toHaveLength(2));
    wire.send('DEVICE_RESET', new Uint8Array(0), {
      flags: headerFlag.REPLY | headerFlag.ERROR,
      id: wire.messages[1]!.id,
    });
    await expect(reset).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: 'the vfio-user server refused DEVICE_RESET: no reason given',
    });
    await expect(client.read(0, 0, 65)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(client.writeMany([])).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    client.close();
    await expect(client.reset()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });

  it('tells who waits, and who listens, that the server is gone', async () => {
    const { client, wire } = await pair();
    const gone = vi.fn();
    client.listenGone(gone);
    const reading = client.read(0, 0, 4);
    wire.close();
    await expect(reading).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    expect(gone).toHaveBeenCalledTimes(1);
  });

  it.each<[string, (client: VfioUserClient) => Promise<unknown>, Uint8Array]>([
    ['short region information', (client) => client.regionInfo(0), new Uint8Array(31)],
    [
      'a region of 2^63 bytes',
      (client) => client.regionInfo(0),
      vfio_region_info.encode({ size: 2n ** 63n }),
    ],
    [
      '4 billion interrupts',
      (client) => client.irqInfo(irq.MSIX),
      vfio_irq_info.encode({ count: 0xffff_ffff }),
    ],
    ['4 billion regions', (client) => client.deviceInfo(), new Uint8Array(16).fill(0xff)],
    [
      'less than was to be read',
      (client) => client.read(region.CONFIG, 0, 4),
      vfio_user_region_access.encode({}),
    ],
    ['more than was to be read', (client) => client.read(region.CONFIG, 0, 4), new Uint8Array(32)],
  ])('takes no %s', async (_, ask, payload) => {
    const { client, wire } = await pair();
    const gone = vi.fn();
    client.listenGone(gone);
    const asked = ask(client);
    asked.catch(() => {}); // awaited below
    await vi.waitFor(() => expect(wire.messages).toHaveLength(2));
    await answer(wire, payload);
    await expect(asked).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    expect(gone.mock.calls[0]?.[0]).toMatchObject({ code: 'BAD_MESSAGE' });
    await vi.waitFor(() => expect(wire.ended).toBe(true));
  });

  it('takes no state without an end', async () => {
    const size = 2 ** 20;
    const { client, wire } = await pair(undefined, size);
    const piece = joined(vfio_user_mig_data.encode({ size }), new Uint8Array(size));
    wire.answering = ({ command, id }) => {
      const isRead = command === commands.MIG_DATA_READ.id;
      wire.send(command, isRead ? piece : new Uint8Array(0), { id, flags: headerFlag.REPLY });
    };
    await expect(client.saveState()).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
  });

  it.each<[string, (wire: Wire) => void]>([
    [
      'a reply to another command',
      (wire) =>
        wire.send('REGION_READ', new Uint8Array(0), { flags: headerFlag.REPLY, id: wire.messages[1]!.id }),
    ],
    [
      'a reply to nothing',
      (wire) => wire.send('DEVICE_RESET', new Uint8Array(0), { flags: headerFlag.REPLY, id: 999 }),
    ],
    ['a message without end', (wire) => wire.send('DEVICE_RESET', new Uint8Array(0), { size: 2 ** 31 })],
  ])('ends the connection at %s', async (_, send) => {
    const { client, wire } = await pair();
    const gone = vi.fn();
    client.listenGone(gone);
    const reset = client.reset();
    reset.catch(() => {}); // awaited below
    await vi.waitFor(() => expect(wire.messages).toHaveLength(2));
    send(wire);
    await expect(reset).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    const reason: VirtioError = gone.mock.calls[0]?.[0];
    expect(reason).toMatchObject({ code: 'BAD_MESSAGE' });
    // Who asks learns of it as well, and who asks later.
    const known = { message: expect.stringContaining(reason.message), cause: reason };
    await expect(reset).rejects.toMatchObject(known);
    await expect(client.deviceInfo()).rejects.toMatchObject(known);
    await vi.waitFor(() => expect(wire.ended).toBe(true));
  });

  it('ends the connection when descriptors come that it did not ask for, and closes them', async () => {
    const served = new Served();
    const { client, wire } = await pair();
    const reset = client.reset();
    reset.catch(() => {}); // awaited below
    await vi.waitFor(() => expect(wire.messages).toHaveLength(2));
    const event = served.descriptors.createEvent();
    wire.send('DEVICE_RESET', new Uint8Array(0), {
      flags: headerFlag.REPLY,
      id: wire.messages[1]!.id,
      descriptors: [event],
    });
    await expect(reset).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    event.close();
    expect(served.descriptors.open).toBe(0);
    client.close();
  });

  it.each([
    ['of another major version', encodeVersion({}, { major: 1, minor: 0 })],
    ['of a newer minor version', encodeVersion({}, { major: 0, minor: 1 })],
    ['whose capabilities are none', joined(new Uint8Array(4), Uint8Array.of(0x7b, 0))],
    ['that says nothing', new Uint8Array(2)],
    ['that takes no data', encodeVersion({ max_data_xfer_size: 0 })],
  ])('takes no server %s', async (_, payload) => {
    const [theirs, ours] = channelPair();
    const wire = new Wire(theirs);
    const connecting = VfioUserClient.connect(ours);
    connecting.catch(() => {}); // awaited below
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.send('VERSION', payload, { flags: headerFlag.REPLY, id: 0 });
    await expect(connecting).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    await vi.waitFor(() => expect(wire.ended).toBe(true));
  });

  it('writes many things in one message', async () => {
    const served = new Served();
    const client = await VfioUserClient.connect(served.connect());
    await client.writeMany([
      { region: region.CONFIG, offset: 0x3c, data: Uint8Array.of(7) },
      { region: region.CONFIG, offset: 0x0c, data: Uint8Array.of(16) },
    ]);
    expect([
      ...(await client.read(region.CONFIG, 0x3c, 1)),
      ...(await client.read(region.CONFIG, 0x0c, 1)),
    ]).toEqual([7, 16]);
    client.close();
  });
});

describe('whatever a server answers', () => {
  /** What a sound server would say to each command of `VfioPciFunction.open`, to be spoilt. */
  const answers: Partial<Record<number, Uint8Array>> = {
    [commands.VERSION.id]: encodeVersion({ max_msg_fds: 8 }),
    [commands.DEVICE_GET_INFO.id]: vfio_user_device_info.encode({ flags: 3, num_regions: 9, num_irqs: 5 }),
    [commands.DEVICE_GET_IRQ_INFO.id]: vfio_irq_info.encode({ count: 3 }),
    [commands.DEVICE_GET_REGION_IO_FDS.id]: joined(
      vfio_user_region_io_fds.encode({ count: 1 }),
      vfio_user_sub_region_ioeventfd.encode({ size: 2n }),
    ),
  };
  const spoil = fc.record({
    at: fc.nat(60),
    byte: fc.constantFrom(0, 1, 0x7f, 0xff),
    cut: fc.option(fc.nat(60), { freq: 4 }),
    flags: fc.constantFrom(...[0, 0, 0, headerFlag.ERROR]),
    events: fc.nat(2),
    command: fc.option(fc.nat(20), { freq: 8 }),
  });

  it('the driver gets a device or an error, and nothing is left behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(spoil, { maxLength: 12 }), async (spoils) => {
        const { descriptors } = new Served();
        const shared = new SharedMemory(descriptors, 2 ** 16);
        const [theirs, ours] = channelPair();
        const wire = new Wire(theirs);
        const opening = VfioPciFunction.open(ours, { descriptors, shared }).then(
          (opened) => opened.close(),
          (error: unknown) => expect(error).toBeInstanceOf(VirtioError),
        );
        let over = false;
        void opening.then(() => {
          over = true;
        });
        for (let next = 0; !over; ) {
          await Promise.resolve();
          const asked = wire.messages[next];
          if (asked === undefined) continue;
          const { at, byte, cut, flags, events, command } = spoils[next++] ?? { ...sound };
          const payload = answers[asked.command]?.slice() ?? new Uint8Array(0);
          if (at < payload.length) payload[at] = byte;
          const given = Array.from({ length: events }, () => descriptors.createEvent());
          wire.send(command ?? asked.command, payload.subarray(0, cut ?? payload.length), {
            flags: headerFlag.REPLY | flags,
            id: asked.id,
            descriptors: given,
          });
          for (const event of given) event.close();
        }
        wire.close();
        for (const { descriptors: copies } of wire.messages) for (const one of copies) one.close();
        shared.close();
        await vi.waitFor(
          () => expect([descriptors.open, descriptors.mapped, descriptors.watched]).toEqual([0, 0, 0]),
          { interval: 1 },
        );
      }),
      { numRuns: 200 },
    );
  });

  const sound = { at: 1000, byte: 0, cut: null, flags: 0, events: 0, command: null };
});
