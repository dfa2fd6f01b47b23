import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { entropyDevice } from '../../devices/entropy/device.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { joined } from '../../spec/joined.ts';
import { status } from '../../spec/status.ts';
import { commandBit, pci_header } from '../../transports/pci/pci-registers.ts';
import { type CommonRegister, commonRegisters } from '../../transports/pci/registers.ts';
import { encodeVersion } from '../capabilities.ts';
import {
  commands,
  dmaFlag,
  headerFlag,
  vfio_user_device_info,
  vfio_user_dma_access,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
} from '../messages.ts';
import { Served, Wire, type WireMessage } from '../vfio-user.fixture.ts';

const size = 8;
/** The client's memory, and where the queue stands in it. */
const memoryAt = { start: 0x1_0000, length: 0x8000 };
const areas = { descriptor: 0x1_0000, driver: 0x1_1000, device: 0x1_2000 };
const both = dmaFlag.READABLE | dmaFlag.WRITEABLE;
const { REPLY, ERROR } = headerFlag;
const read = commands.DMA_READ.id;

const map = (flags: number = both, { start, length } = memoryAt): Uint8Array =>
  vfio_user_dma_map.encode({ argsz: 32, flags, address: BigInt(start), size: BigInt(length) });

/** The driver's registers, past the client. */
function setUp(served: Served, packed = false): void {
  const { pciFunction } = served.server;
  const set = (name: CommonRegister, value: number): void => {
    const { offset, width } = commonRegisters.register[name];
    pciFunction.regionWrite(0, offset, width, value);
  };
  const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
  pciFunction.configWrite(pci_header.field.command.offset, 2, commandBit.BUS_MASTER);
  set('device_status', ACKNOWLEDGE);
  set('device_status', ACKNOWLEDGE | DRIVER);
  // VERSION_1 and RING_PACKED.
  set('driver_feature_select', 1);
  set('driver_feature', packed ? 0b101 : 1);
  set('device_status', ACKNOWLEDGE | DRIVER | FEATURES_OK);
  set('queue_size', size);
  set('queue_desc_lo', areas.descriptor);
  set('queue_driver_lo', areas.driver);
  set('queue_device_lo', areas.device);
  set('queue_enable', 1);
  set('device_status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

function notify({ server: { pciFunction } }: Served): void {
  for (const { bar, offset, width, value } of pciFunction.notifications) {
    pciFunction.regionWrite(bar, offset, width, value);
  }
}

/** What a client answers to an access to its memory. */
type Answering = (message: WireMessage, wire: Wire) => void;

/** A device with a queue in memory of a client that answers as it is told. */
async function started(answering: Answering, flags: number = both): Promise<{ served: Served; wire: Wire }> {
  const served = new Served(entropyDevice({ source: (target) => void target.fill(7) }));
  const wire = await served.wire();
  wire.answering = (message) => answering(message, wire);
  expect(await wire.refusal('DMA_MAP', map(flags))).toBe(0);
  setUp(served);
  return { served, wire };
}

/** Answers from memory, as a client should. */
function fromMemory(memory: GuestMemory): Answering {
  return (message, wire) => {
    const { address, count } = vfio_user_dma_access.read(message.view);
    const head = message.payload.subarray(0, 16);
    const inside = memory.contains(Number(address), Number(count));
    if (!inside) wire.send(message.command, new Uint8Array(0), { id: message.id, flags: REPLY | ERROR });
    else if (message.command === read) {
      const data = memory.read(Number(address), Number(count));
      wire.send('DMA_READ', joined(head, data), { id: message.id, flags: REPLY });
    } else {
      memory.write(Number(address), message.payload.subarray(16));
      // As QEMU does.
      wire.send('DMA_WRITE', new Uint8Array(0), { id: message.id, flags: REPLY });
    }
  };
}

const memoryOf = (): GuestMemory => GuestMemory.ofSize(memoryAt.length, memoryAt.start);

/** One device-writable buffer of a length, made available. */
function offer(memory: GuestMemory, address: number, length: number): void {
  const words = new DataView(new ArrayBuffer(16));
  words.setBigUint64(0, BigInt(address), true);
  words.setUint32(8, length, true);
  words.setUint16(12, 2, true);
  memory.write(areas.descriptor, new Uint8Array(words.buffer));
  memory.write(areas.driver, Uint8Array.of(0, 0, 1, 0, 0, 0));
}

async function expectServesTheNext(served: Served): Promise<void> {
  await served.expectNothingLeft();
  const next = await served.wire();
  expect(await next.refusal('DEVICE_GET_INFO', vfio_user_device_info.encode({ argsz: 16 }))).toBe(0);
  next.close();
  await served.expectNothingLeft();
}

describe('a client that answers for its memory', () => {
  it('has its buffers filled, and is told so', async () => {
    const memory = memoryOf();
    const { served, wire } = await started(fromMemory(memory));
    offer(memory, 0x1_4000, 5);
    notify(served);
    await vi.waitFor(() =>
      expect([...memory.read(areas.device, 12)]).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0]),
    );
    expect([...memory.read(0x1_4000, 6)]).toEqual([7, 7, 7, 7, 7, 0]);
    expect(served.violations).toEqual([]);
    wire.close();
    await expectServesTheNext(served);
  });

  it('has what it asks for answered while it does not answer itself, and no more than four accesses wait', async () => {
    const asked: WireMessage[] = [];
    const { served, wire } = await started((message) => void asked.push(message));
    for (let i = 0; i < 10; i++) notify(served);
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    expect(await wire.refusal('DEVICE_GET_INFO', vfio_user_device_info.encode({ argsz: 16 }))).toBe(0);
    // Again and again, and never an answer.
    for (let i = 0; i < 10; i++) {
      expect(await wire.refusal('DEVICE_RESET')).toBe(0);
      setUp(served);
      notify(served);
    }
    expect(asked).toHaveLength(4);
    expect([served.errors, served.violations]).toEqual([[], []]);
    wire.close();
    await expectServesTheNext(served);
  });
});

describe('a client that', () => {
  it.each<[string, Answering]>([
    [
      'gives fewer bytes than were read',
      (message, wire) => wire.send(read, message.payload, { id: message.id, flags: REPLY }),
    ],
    [
      'gives more bytes than were read',
      (message, wire) =>
        wire.send(read, joined(message.payload, new Uint8Array(0x1_0000)), { id: message.id, flags: REPLY }),
    ],
    [
      'gives half a head',
      (message, wire) => wire.send(read, new Uint8Array(8), { id: message.id, flags: REPLY }),
    ],
    [
      'says that it gives others',
      (message, wire) => {
        const { count } = vfio_user_dma_access.read(message.view);
        const head = vfio_user_dma_access.encode({ count: count + 1n });
        wire.send(read, joined(head, new Uint8Array(Number(count))), { id: message.id, flags: REPLY });
      },
    ],
    [
      'answers what nobody asked',
      (message, wire) => wire.send(read, message.payload, { id: message.id + 999, flags: REPLY }),
    ],
    [
      'answers another command',
      (message, wire) => wire.send('DMA_WRITE', message.payload, { id: message.id, flags: REPLY }),
    ],
  ])('%s ends its connection, and the next is served', async (_, answering) => {
    const { served, wire } = await started(answering);
    notify(served);
    await vi.waitFor(() => expect(wire.ended).toBe(true));
    expect(served.left.map((error) => error?.code)).toEqual(['BAD_MESSAGE']);
    await expectServesTheNext(served);
  });

  it.each<
    [string, (wire: Wire, served: Served, memory: GuestMemory) => Promise<unknown> | undefined, number?]
  >([
    [
      'refuses',
      (wire) => {
        wire.answering = ({ command, id }) =>
          wire.send(command, new Uint8Array(0), { id, flags: REPLY | ERROR });
      },
    ],
    [
      'takes its memory away',
      (wire) =>
        wire.ask(
          'DMA_UNMAP',
          vfio_user_dma_unmap.encode({
            argsz: 24,
            address: BigInt(memoryAt.start),
            size: BigInt(memoryAt.length),
          }),
        ),
    ],
    ['offers a buffer elsewhere', async (_, __, memory) => offer(memory, 0x9_0000, 16)],
    ['offers a buffer beyond its memory', async (_, __, memory) => offer(memory, 0x1_7ff0, 32)],
    [
      'says that 9 of 8 buffers are there',
      async (_, __, memory) => memory.write(areas.driver, Uint8Array.of(0, 0, 9, 0)),
    ],
  ])('%s has a device that needs a reset, and a connection that goes on', async (_, act) => {
    const memory = memoryOf();
    const { served, wire } = await started(fromMemory(memory));
    await act(wire, served, memory);
    notify(served);
    const { core } = served.server.pciFunction;
    await vi.waitFor(() => expect(core.status & status.DEVICE_NEEDS_RESET).not.toBe(0));
    expect(served.violations).toHaveLength(1);
    expect(await wire.refusal('DEVICE_RESET')).toBe(0);
    expect(core.status).toBe(0);
    wire.close();
    await expectServesTheNext(served);
  });

  it.each([
    ['may not be written', dmaFlag.READABLE],
    ['may not be read', dmaFlag.WRITEABLE],
  ])('gives memory that %s has no queue there', async (_, flags) => {
    const { served, wire } = await started(() => {}, flags);
    expect(served.violations.map(({ code }) => code)).toEqual(['ADDRESS_OUT_OF_BOUNDS']);
    wire.close();
    await expectServesTheNext(served);
  });

  it('takes fewer bytes in a message than a page has none of its memory used', async () => {
    const served = new Served(entropyDevice({ source: () => {} }));
    const wire = new Wire(served.connect());
    await wire.ask('VERSION', encodeVersion({ max_data_xfer_size: 1 }));
    expect(await wire.refusal('DMA_MAP', map())).toBe(0);
    setUp(served);
    await vi.waitFor(() =>
      expect(served.violations.map(({ code }) => code)).toEqual(['ADDRESS_OUT_OF_BOUNDS']),
    );
    expect(wire.messages.filter(({ flags }) => flags === 0)).toEqual([]);
    wire.close();
    await expectServesTheNext(served);
  });

  it('refuses is said to have refused', async () => {
    const { served, wire } = await started(({ command, id }, wire) =>
      wire.send(command, new Uint8Array(0), { id, flags: REPLY | ERROR }),
    );
    notify(served);
    await vi.waitFor(() =>
      expect(served.violations[0]?.message).toMatch(/the vfio-user client refused DMA_READ/),
    );
    wire.close();
    await expectServesTheNext(served);
  });

  it('has anything at all in its memory breaks its own queue at most', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(
          fc.record({ at: fc.nat(255), word: fc.oneof(fc.nat(0x1_8000), fc.nat(16), fc.constant(-1)) }),
          { maxLength: 40 },
        ),
        fc.nat(8),
        async (packed, words, available) => {
          const served = new Served(entropyDevice({ source: (target) => void target.fill(1) }));
          const wire = await served.wire();
          const memory = memoryOf();
          const answer = fromMemory(memory);
          wire.answering = (message) => answer(message, wire);
          await wire.ask('DMA_MAP', map());
          for (const { at, word } of words) {
            const value = new DataView(new ArrayBuffer(4));
            value.setInt32(0, word, true);
            memory.write(memoryAt.start + (at % 32) * 4 + (at >> 7) * 0x1000, new Uint8Array(value.buffer));
          }
          memory.write(areas.driver + 2, Uint8Array.of(available, 0));
          setUp(served, packed);
          notify(served);
          expect(await wire.refusal('DEVICE_RESET')).toBe(0);
          wire.close();
          await served.expectNothingLeft();
          expect(served.errors).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});
