import { describe, expect, it, vi } from 'vitest';
import type { Descriptor } from '../channel/descriptors.ts';
import { mostDescriptors } from '../channel/message-reader.ts';
import { joined } from '../spec/joined.ts';
import { sampleDevice } from '../transports/pci/pci.fixture.ts';
import { commandBit, pci_header } from '../transports/pci/pci-registers.ts';
import { sharedMemory } from '../transports/pci/shared-memory.ts';
import { decodeVersion, encodeVersion } from './capabilities.ts';
import {
  deviceFlag,
  dmaFlag,
  dmaUnmapFlag,
  errno,
  headerFlag,
  ioEventFlag,
  irq,
  irqFlag,
  irqSetFlag,
  region,
  regionFlag,
  vfio_irq_info,
  vfio_irq_set,
  vfio_region_info,
  vfio_user_device_feature,
  vfio_user_device_info,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
  vfio_user_region_access,
  vfio_user_region_io_fds,
  vfio_user_sub_region_ioeventfd,
  vfio_user_write,
  vfio_user_write_multi,
} from './messages.ts';
import { Served, Wire } from './vfio-user.fixture.ts';

const both = dmaFlag.READABLE | dmaFlag.WRITEABLE;
const map = (address: number, size: number, flags = both, offset = 0): Uint8Array =>
  vfio_user_dma_map.encode({
    argsz: 32,
    flags,
    offset: BigInt(offset),
    address: BigInt(address),
    size: BigInt(size),
  });
const unmap = (address: number, size: number, flags = 0): Uint8Array =>
  vfio_user_dma_unmap.encode({ argsz: 24, flags, address: BigInt(address), size: BigInt(size) });
const access = (index: number, offset: number, count: number): Uint8Array =>
  vfio_user_region_access.encode({ offset: BigInt(offset), region: index, count });
const setIrqs = (index: number, start: number, count: number, flags: number): Uint8Array =>
  vfio_irq_set.encode({ argsz: 20, flags, index, start, count });
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = irqSetFlag;

async function read(wire: Wire, index: number, offset: number, count: number): Promise<Uint8Array> {
  return (await wire.ask('REGION_READ', access(index, offset, count))).payload.subarray(16);
}

async function write(wire: Wire, index: number, offset: number, ...data: number[]): Promise<number> {
  const payload = joined(access(index, offset, data.length), Uint8Array.from(data));
  return wire.refusal('REGION_WRITE', payload);
}

/** An event and how often it was signalled. */
function counted(served: Served): { event: Descriptor; count: () => number; end: () => void } {
  const event = served.descriptors.createEvent();
  let count = 0;
  const stop = served.descriptors.watch(event, () => count++);
  return {
    event,
    count: () => count,
    end: () => {
      stop();
      event.close();
    },
  };
}

describe('a vfio-user server', () => {
  it('answers with its version, and with its values of what the client named', async () => {
    const served = new Served();
    const wire = await served.wire();
    const { major, minor, named } = decodeVersion(wire.messages[0]!.view);
    expect([major, minor]).toEqual([0, 0]);
    expect(named).toEqual({ max_msg_fds: 16, max_data_xfer_size: 2 ** 20 });
    wire.close();
    await served.expectNothingLeft();
  });

  it('takes a newer minor version, and none of another major one', async () => {
    const served = new Served();
    const newer = new Wire(served.connect());
    const reply = await newer.ask('VERSION', encodeVersion({}, { major: 0, minor: 3 }));
    expect(decodeVersion(reply.view)).toEqual({ major: 0, minor: 0, named: {} });
    newer.close();
    const other = new Wire(served.connect());
    other.send('VERSION', encodeVersion({}, { major: 1, minor: 0 }));
    await vi.waitFor(() => expect(other.ended).toBe(true));
    expect(served.left.at(-1)?.message).toMatch(/version 1/);
    await served.expectNothingLeft();
  });

  it('is a PCI device with the regions and interrupts of the function', async () => {
    const served = new Served();
    const wire = await served.wire();
    const info = vfio_user_device_info.read(
      (await wire.ask('DEVICE_GET_INFO', vfio_user_device_info.encode({ argsz: 16 }))).view,
    );
    expect(info).toEqual({
      argsz: 16,
      flags: deviceFlag.PCI | deviceFlag.RESET,
      num_regions: 9,
      num_irqs: 5,
    });
    const sizes: bigint[] = [];
    for (let index = 0; index < 9; index++) {
      const request = vfio_region_info.encode({ argsz: 32, index });
      const found = vfio_region_info.read((await wire.ask('DEVICE_GET_REGION_INFO', request)).view);
      expect(found).toMatchObject({ argsz: 32, index, cap_offset: 0 });
      expect(found.flags).toBe(found.size === 0n ? 0 : regionFlag.READ | regionFlag.WRITE);
      sizes.push(found.size);
    }
    expect(sizes).toEqual([0x4000n, 0n, 0x2000n, 0n, 0n, 0n, 0n, 256n, 0n]);
    const counts: number[] = [];
    for (let index = 0; index < 5; index++) {
      const request = vfio_irq_info.encode({ argsz: 16, index });
      const found = vfio_irq_info.read((await wire.ask('DEVICE_GET_IRQ_INFO', request)).view);
      counts.push(found.count);
      if (index === irq.INTX) {
        expect(found.flags).toBe(irqFlag.EVENTFD | irqFlag.MASKABLE | irqFlag.AUTOMASKED);
      }
    }
    expect(counts).toEqual([1, 0, 4, 1, 1]);
    wire.close();
  });

  it('reads and writes configuration space whole and in parts, and BARs wherever they are', async () => {
    const served = new Served();
    const wire = await served.wire();
    const config = await read(wire, region.CONFIG, 0, 256);
    expect([config[0], config[1]]).toEqual([0xf4, 0x1a]);
    expect(await read(wire, region.CONFIG, 1, 3)).toEqual(config.subarray(1, 4));
    expect(await write(wire, region.CONFIG, pci_header.field.command.offset, commandBit.BUS_MASTER, 0)).toBe(
      0,
    );
    expect(served.server.pciFunction.configRead(pci_header.field.command.offset, 2)).toBe(
      commandBit.BUS_MASTER,
    );
    // The device's own configuration is in the third page.
    expect([...(await read(wire, 0, 0x2000, 4))]).toEqual([0x88, 0x77, 0x66, 0x55]);
    expect(served.violations).toEqual([]);
    wire.close();
  });

  it('takes several writes in one message, and one that nobody waits for', async () => {
    const served = new Served();
    const wire = await served.wire();
    const one = (offset: number, ...data: number[]): Uint8Array =>
      vfio_user_write.encode({
        offset: BigInt(offset),
        region: region.CONFIG,
        count: data.length,
        data: Uint8Array.from(data),
      });
    const { interrupt_line, cache_line_size } = pci_header.field;
    const writes = joined(
      vfio_user_write_multi.encode({ wr_cnt: 2n }),
      one(interrupt_line.offset, 9),
      one(cache_line_size.offset, 16),
    );
    const reply = await wire.ask('REGION_WRITE_MULTI', writes);
    expect(vfio_user_write_multi.read(reply.view).wr_cnt).toBe(2n);
    wire.send('REGION_WRITE', joined(access(region.CONFIG, interrupt_line.offset, 1), Uint8Array.of(11)), {
      flags: headerFlag.NO_REPLY,
    });
    expect([...(await read(wire, region.CONFIG, interrupt_line.offset, 1))]).toEqual([11]);
    expect([...(await read(wire, region.CONFIG, cache_line_size.offset, 1))]).toEqual([16]);
    expect(wire.messages.filter(({ command }) => command === 10)).toEqual([]);
    wire.close();
  });

  it('maps the memory that is shared with it, and knows what is not', async () => {
    const served = new Served();
    const wire = await served.wire();
    const memory = served.descriptors.createMemory(0x10000);
    const { core } = served.server.pciFunction;
    expect(
      await wire.refusal('DMA_MAP', map(0x100000, 0x8000, both, 0x1000), { descriptors: [memory] }),
    ).toBe(0);
    expect(await wire.refusal('DMA_MAP', map(0xc0000, 0x20000, dmaFlag.READABLE))).toBe(0);
    expect(await wire.refusal('DMA_MAP', map(0x200000, 0x1000))).toBe(0);
    expect(served.errors).toEqual([]);
    expect(core.memory.regions.map(({ start, length }) => [start, length])).toEqual([[0x100000, 0x8000]]);
    expect(await wire.refusal('DMA_MAP', map(0xdf000, 0x1000), { descriptors: [memory] })).toBe(errno.EEXIST);
    const reply = await wire.ask('DMA_UNMAP', unmap(0x100000, 0x8000));
    expect([...reply.payload]).toEqual([...unmap(0x100000, 0x8000)]);
    expect(core.memory.regions).toEqual([]);
    expect(served.descriptors.mapped).toBe(0);
    expect(await wire.refusal('DMA_UNMAP', unmap(0x100000, 0x8000))).toBe(errno.ENOENT);
    await wire.ask('DMA_MAP', map(0x100000, 0x8000), { descriptors: [memory] });
    await wire.ask('DMA_UNMAP', unmap(0, 0, dmaUnmapFlag.ALL));
    memory.close();
    wire.close();
    await served.expectNothingLeft();
  });

  it.each([
    ['no bytes', map(0x1000, 0)],
    ['half a page', map(0x1000, 0x800)],
    ['no whole address', map(0x1100, 0x1000)],
    ['no whole offset', map(0x1000, 0x1000, both, 0x10)],
    ['an end behind the last address', map(2 ** 53 - 0x1000, 0x2000)],
    ['more than there is', map(0x1000, 0x20000)],
  ])('refuses a DMA region of %s', async (_, payload) => {
    const served = new Served();
    const wire = await served.wire();
    const memory = served.descriptors.createMemory(0x10000);
    expect(await wire.refusal('DMA_MAP', payload, { descriptors: [memory] })).toBe(errno.EINVAL);
    const event = served.descriptors.createEvent();
    expect(await wire.refusal('DMA_MAP', map(0x1000, 0x1000), { descriptors: [event] })).toBe(errno.EINVAL);
    event.close();
    memory.close();
    wire.close();
    await served.expectNothingLeft();
  });

  it('signals the line once, and again when it is unmasked while the level is up', async () => {
    const served = new Served();
    const wire = await served.wire();
    const { event, count, end } = counted(served);
    served.go();
    const bind = setIrqs(irq.INTX, 0, 1, DATA_EVENTFD | ACTION_TRIGGER);
    const unmask = setIrqs(irq.INTX, 0, 1, DATA_NONE | ACTION_UNMASK);
    await wire.ask('DEVICE_SET_IRQS', bind, { descriptors: [event] });
    // A change of the configuration raises the line.
    served.change();
    await vi.waitFor(() => expect(count()).toBe(1));
    served.change();
    await wire.ask('DEVICE_SET_IRQS', unmask);
    await vi.waitFor(() => expect(count()).toBe(2));
    // Reading the ISR status takes the level down.
    await read(wire, 0, 0x1000, 1);
    await wire.ask('DEVICE_SET_IRQS', unmask);
    await wire.ask('DEVICE_SET_IRQS', setIrqs(irq.INTX, 0, 1, DATA_NONE | ACTION_MASK));
    served.change();
    await read(wire, region.CONFIG, 0, 4);
    expect(count()).toBe(2);
    await wire.ask('DEVICE_SET_IRQS', setIrqs(irq.INTX, 0, 0, DATA_NONE | ACTION_TRIGGER));
    end();
    wire.close();
    await served.expectNothingLeft();
  });

  it('lets events mask the line and unmask it', async () => {
    const served = new Served();
    const wire = await served.wire();
    const { event, count, end } = counted(served);
    served.go();
    const unmask = served.descriptors.createEvent();
    const withEvents = (action: number): Uint8Array => setIrqs(irq.INTX, 0, 1, DATA_EVENTFD | action);
    await wire.ask('DEVICE_SET_IRQS', withEvents(ACTION_TRIGGER), { descriptors: [event] });
    await wire.ask('DEVICE_SET_IRQS', withEvents(ACTION_UNMASK), { descriptors: [unmask] });
    served.change();
    await vi.waitFor(() => expect(count()).toBe(1));
    served.descriptors.signal(unmask);
    await vi.waitFor(() => expect(count()).toBe(2));
    await wire.ask('DEVICE_SET_IRQS', withEvents(ACTION_UNMASK));
    expect(served.descriptors.watched).toBe(1);
    expect(
      await wire.refusal('DEVICE_SET_IRQS', setIrqs(irq.MSIX, 0, 1, DATA_EVENTFD | ACTION_MASK), {
        descriptors: [unmask],
      }),
    ).toBe(errno.EINVAL);
    unmask.close();
    end();
    wire.close();
    await served.expectNothingLeft();
  });

  it('signals the vectors that the client listens to, and those that waited for it', async () => {
    const served = new Served();
    const wire = await served.wire();
    const { event, count, end } = counted(served);
    served.go();
    // The capability of MSI-X is the last; vector 1 is for configuration changes.
    const config = await read(wire, region.CONFIG, 0, 256);
    let at = config[pci_header.field.capabilities_pointer.offset] ?? 0;
    while (config[at] !== 0x11) at = config[at + 1] ?? 0;
    await write(wire, region.CONFIG, at + 3, 0x80);
    await write(wire, region.CONFIG, pci_header.field.command.offset, commandBit.BUS_MASTER, 0);
    await write(wire, 0, 16, 1, 0);
    expect([...(await read(wire, 0, 16, 2))]).toEqual([1, 0]);
    served.change();
    const pending = async (): Promise<number> => (await read(wire, 2, 0x1000, 4))[0] ?? 0;
    expect(await pending()).toBe(2);
    const bind = setIrqs(irq.MSIX, 1, 1, DATA_EVENTFD | ACTION_TRIGGER);
    await wire.ask('DEVICE_SET_IRQS', bind, { descriptors: [event] });
    await vi.waitFor(() => expect(count()).toBe(1));
    expect(await pending()).toBe(0);
    await wire.ask(
      'DEVICE_SET_IRQS',
      joined(setIrqs(irq.MSIX, 0, 2, DATA_BOOL | ACTION_MASK), Uint8Array.of(0, 1)),
    );
    served.change();
    expect(await pending()).toBe(2);
    await wire.ask('DEVICE_SET_IRQS', setIrqs(irq.MSIX, 1, 1, DATA_NONE | ACTION_UNMASK));
    await vi.waitFor(() => expect(count()).toBe(2));
    await wire.ask('DEVICE_SET_IRQS', setIrqs(irq.MSIX, 0, 4, DATA_NONE | ACTION_TRIGGER));
    await vi.waitFor(() => expect(count()).toBe(3));
    await wire.ask('DEVICE_SET_IRQS', bind);
    served.change();
    expect(await pending()).toBe(2);
    end();
    wire.close();
    await served.expectNothingLeft();
  });

  it('asks the client to let the device go, and tells it of errors', async () => {
    const served = new Served();
    const wire = await served.wire();
    expect(served.server.askForRelease()).toBe(false);
    const release = counted(served);
    const broken = counted(served);
    const bind = (index: number): Uint8Array => setIrqs(index, 0, 1, DATA_EVENTFD | ACTION_TRIGGER);
    await wire.ask('DEVICE_SET_IRQS', bind(irq.REQ), { descriptors: [release.event] });
    await wire.ask('DEVICE_SET_IRQS', bind(irq.ERR), { descriptors: [broken.event] });
    expect([served.server.askForRelease(), served.server.reportError()]).toEqual([true, true]);
    await vi.waitFor(() => expect([release.count(), broken.count()]).toEqual([1, 1]));
    expect(await wire.refusal('DEVICE_SET_IRQS', setIrqs(irq.ERR, 0, 1, DATA_NONE | ACTION_MASK))).toBe(
      errno.EINVAL,
    );
    release.end();
    broken.end();
    wire.close();
    await served.expectNothingLeft();
  });

  it('gives events for the notifications of a BAR, the same ones each time', async () => {
    const served = new Served();
    const wire = await served.wire();
    const ask = (index: number, argsz: number) =>
      wire.ask('DEVICE_GET_REGION_IO_FDS', vfio_user_region_io_fds.encode({ argsz, index }));
    const { size } = vfio_user_sub_region_ioeventfd;
    const short = await ask(0, 16);
    expect(vfio_user_region_io_fds.read(short.view)).toMatchObject({ argsz: 16 + 3 * size, count: 3 });
    expect([short.payload.length, short.descriptors]).toEqual([16, []]);
    const { view, descriptors } = await ask(0, 4096);
    const parts = [0, 1].map((i) => vfio_user_sub_region_ioeventfd.read(view, 16 + i * size));
    expect(parts.map(({ offset, datamatch }) => [offset, datamatch])).toEqual([
      [0x3000n, 0n],
      [0x3004n, 1n],
    ]);
    expect(parts[1]).toMatchObject({ size: 2n, fd_index: 1, type: 0, flags: ioEventFlag.DATAMATCH });
    await write(wire, region.CONFIG, pci_header.field.command.offset, commandBit.BUS_MASTER, 0);
    served.descriptors.signal(descriptors[1]!);
    // The device is not running, so the notification is named.
    await vi.waitFor(() =>
      expect(served.violations.map(({ code }) => code)).toEqual(['NOTIFICATION_UNEXPECTED']),
    );
    const again = await ask(0, 4096);
    expect((await ask(region.CONFIG, 4096)).descriptors).toEqual([]);
    expect(served.descriptors.watched).toBe(3);
    for (const one of [...descriptors, ...again.descriptors]) one.close();
    wire.close();
    await served.expectNothingLeft();
  });

  it('forgets who gives up before being served, and serves the others', async () => {
    const served = new Served();
    const first = await served.wire();
    const memory = served.descriptors.createMemory(0x1000);
    const { open } = served.descriptors;
    for (let i = 0; i < 20; i++) {
      const wire = new Wire(served.connect());
      wire.send('VERSION', encodeVersion({}));
      wire.send('DMA_MAP', map(0, 0x1000), { descriptors: [memory] });
      await vi.waitFor(() => expect(served.descriptors.open).toBe(open + 1));
      if (i % 2 === 0) wire.close();
      else wire.raw(new Uint8Array(16));
      await vi.waitFor(() => expect(served.descriptors.open).toBe(open));
    }
    expect(served.errors.map(({ code }) => code)).toEqual(Array(10).fill('BAD_MESSAGE'));
    const greedy = new Wire(served.connect());
    greedy.send('DEVICE_SET_IRQS', new Uint8Array(0), { descriptors: Array(257).fill(memory) });
    await vi.waitFor(() => expect(greedy.ended).toBe(true));
    const last = new Wire(served.connect());
    const version = last.ask('VERSION', encodeVersion({}));
    expect(await first.refusal('DEVICE_RESET')).toBe(0);
    expect(served.left).toEqual([]);
    first.close();
    expect((await version).error).toBe(0);
    memory.close();
    last.close();
    await served.expectNothingLeft();
  });

  it('gives no more events than go with one message, whatever the client says that it takes', async () => {
    const queues = { first: { size: 64 }, second: { count: 300, size: 100 } };
    const served = new Served(sampleDevice({ queues }));
    const wire = new Wire(served.connect());
    await wire.ask('VERSION', encodeVersion({ max_msg_fds: 1e9 }));
    const request = vfio_user_region_io_fds.encode({ argsz: 2 ** 16, index: 0 });
    const { view, descriptors } = await wire.ask('DEVICE_GET_REGION_IO_FDS', request);
    expect(vfio_user_region_io_fds.read(view).count).toBe(mostDescriptors);
    expect(descriptors).toHaveLength(mostDescriptors);
    for (const one of descriptors) one.close();
    wire.close();
    await served.expectNothingLeft();
  });

  it('reads and writes a BAR of shared memory by messages where nobody can map it', async () => {
    const bytes = new Uint8Array(0x3000);
    const served = new Served(undefined, { capabilities: [sharedMemory(1, bytes)] });
    const wire = await served.wire();
    const request = vfio_region_info.encode({ argsz: 64, index: 4 });
    const info = await wire.ask('DEVICE_GET_REGION_INFO', request);
    expect(vfio_region_info.read(info.view)).toMatchObject({
      argsz: 32,
      flags: regionFlag.READ | regionFlag.WRITE,
      size: 0x4000n,
    });
    expect(info.descriptors).toEqual([]);
    expect(await write(wire, 4, 0x2ffd, 1, 2, 3)).toBe(0);
    expect([...bytes.subarray(0x2ffc)]).toEqual([0, 1, 2, 3]);
    // What is behind the memory, but within the BAR, is there for nobody.
    expect([...(await read(wire, 4, 0x2ffe, 4))]).toEqual([2, 3, 0, 0]);
    expect(await wire.refusal('REGION_READ', access(4, 0x3ffe, 4))).toBe(errno.EINVAL);
    wire.close();
    await served.expectNothingLeft();
  });

  it('gives the memory behind a BAR of shared memory', async () => {
    let behind: Descriptor | undefined;
    const bytes = new Uint8Array(0x3000);
    const served = new Served(undefined, { capabilities: [sharedMemory(1, bytes)] }, (descriptors) => {
      behind = descriptors.lend(bytes);
      return { shared: [{ bar: 4, descriptor: behind, length: 0x3000 }] };
    });
    const wire = await served.wire();
    const ask = (argsz: number) =>
      wire.ask('DEVICE_GET_REGION_INFO', vfio_region_info.encode({ argsz, index: 4 }));
    const short = await ask(32);
    expect(vfio_region_info.read(short.view)).toMatchObject({
      argsz: 64,
      flags: regionFlag.READ | regionFlag.WRITE | regionFlag.MMAP,
      size: 0x4000n,
    });
    const whole = await ask(64);
    expect(vfio_region_info.read(whole.view).flags & regionFlag.CAPS).not.toBe(0);
    expect(whole.view.getBigUint64(56, true)).toBe(0x3000n);
    const mapping = served.descriptors.map(whole.descriptors[0]!, 0, 0x3000);
    await write(wire, 4, 0x10, 1, 2, 3, 4, 5);
    expect([...new Uint8Array(mapping.pieces[0]!.buffer, 0x10, 5)]).toEqual([1, 2, 3, 4, 5]);
    mapping.close();
    for (const { descriptors } of [short, whole]) for (const one of descriptors) one.close();
    behind?.close();
    wire.close();
    await served.expectNothingLeft();
  });

  it('resets the function', async () => {
    const served = new Served();
    const wire = await served.wire();
    await write(wire, region.CONFIG, pci_header.field.command.offset, commandBit.BUS_MASTER, 0);
    expect(await wire.refusal('DEVICE_RESET')).toBe(0);
    expect([...(await read(wire, region.CONFIG, pci_header.field.command.offset, 2))]).toEqual([0, 0]);
    wire.close();
  });

  it('says what it does not have: migration, and commands of the other side', async () => {
    const served = new Served();
    const wire = await served.wire();
    const probe = vfio_user_device_feature.encode({ argsz: 8, flags: 0x4_0001 });
    expect(await wire.refusal('DEVICE_FEATURE', probe)).toBe(errno.ENOTTY);
    expect(await wire.refusal('MIG_DATA_READ', new Uint8Array(8))).toBe(errno.EOPNOTSUPP);
    expect(await wire.refusal('DMA_READ', new Uint8Array(16))).toBe(errno.EINVAL);
    expect(await wire.refusal(14, new Uint8Array(8))).toBe(errno.ENOSYS);
    expect(await wire.refusal(99)).toBe(errno.ENOSYS);
    expect(new Set(served.errors.map(({ code }) => code))).toEqual(new Set(['BAD_MESSAGE']));
    wire.close();
  });

  it('serves the next client when the one before has left, and a function as after power-up', async () => {
    const served = new Served();
    const first = await served.wire();
    const command = pci_header.field.command.offset;
    await write(first, region.CONFIG, command, commandBit.BUS_MASTER, 0);
    served.go();
    const next = served.wire();
    first.close();
    const second = await next;
    expect([...(await read(second, region.CONFIG, command, 2))]).toEqual([0, 0]);
    expect(served.server.pciFunction.core.status).toBe(0);
    expect(served.left).toEqual([undefined]);
    second.close();
    await served.expectNothingLeft();
  });

  it('lets everybody go when it is closed', async () => {
    const served = new Served();
    const wire = await served.wire();
    const waiting = new Wire(served.connect());
    served.server.close();
    const late = new Wire(served.connect());
    await vi.waitFor(() => expect([wire, waiting, late].every(({ ended }) => ended)).toBe(true));
    await served.expectNothingLeft();
  });
});
