import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { joined } from '../spec/joined.ts';
import { encodeUtf8 } from '../spec/utf8.ts';
import { pciMigration } from '../transports/pci/migration.ts';
import { encodeVersion } from './capabilities.ts';
import {
  type CommandForm,
  type CommandName,
  commands,
  deviceFeature,
  errno,
  featureFlag,
  headerFlag,
  irqSetFlag,
  migrationState,
  vfio_irq_info,
  vfio_irq_set,
  vfio_region_info,
  vfio_user_device_feature,
  vfio_user_device_feature_mig_state,
  vfio_user_device_info,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
  vfio_user_header,
  vfio_user_mig_data,
  vfio_user_region_access,
  vfio_user_region_io_fds,
  vfio_user_version,
  vfio_user_write,
  vfio_user_write_multi,
} from './messages.ts';
import { Served, Wire } from './vfio-user.fixture.ts';

/** The sound payload of each command that the server takes; what refers to memory comes in this order. */
const sound: Partial<Record<CommandName, Uint8Array>> = {
  DMA_MAP: vfio_user_dma_map.encode({ argsz: 32, flags: 3, address: 0x10000n, size: 0x1000n }),
  DMA_UNMAP: vfio_user_dma_unmap.encode({ argsz: 24, address: 0x10000n, size: 0x1000n }),
  DEVICE_GET_INFO: vfio_user_device_info.encode({ argsz: 16 }),
  DEVICE_GET_REGION_INFO: vfio_region_info.encode({ argsz: 32, index: 7 }),
  DEVICE_GET_REGION_IO_FDS: vfio_user_region_io_fds.encode({ argsz: 16 }),
  DEVICE_GET_IRQ_INFO: vfio_irq_info.encode({ argsz: 16, index: 2 }),
  DEVICE_SET_IRQS: vfio_irq_set.encode({ argsz: 20, flags: 0x21, index: 2 }),
  REGION_READ: vfio_user_region_access.encode({ region: 7, count: 4 }),
  REGION_WRITE: joined(
    vfio_user_region_access.encode({ region: 7, offset: 60n, count: 1 }),
    Uint8Array.of(1),
  ),
  DEVICE_RESET: new Uint8Array(0),
  REGION_WRITE_MULTI: joined(
    vfio_user_write_multi.encode({ wr_cnt: 1n }),
    vfio_user_write.encode({ region: 7, offset: 60n, count: 1 }),
  ),
  DEVICE_FEATURE: joined(
    vfio_user_device_feature.encode({ argsz: 16, flags: deviceFeature.MIG_DEVICE_STATE | featureFlag.SET }),
    vfio_user_device_feature_mig_state.encode({ device_state: migrationState.STOP_COPY }),
  ),
  MIG_DATA_READ: vfio_user_mig_data.encode({ argsz: 12, size: 4 }),
  MIG_DATA_WRITE: joined(vfio_user_mig_data.encode({ argsz: 12, size: 4 }), new Uint8Array(4)),
};
/** What is right at another time alone. */
const untimely: Partial<Record<CommandName, number>> = {
  DMA_UNMAP: errno.ENOENT,
  MIG_DATA_READ: errno.EINVAL,
  MIG_DATA_WRITE: errno.EINVAL,
};
const movable = (): Served => new Served(undefined, {}, () => ({ migration: pciMigration }));
// The keys are those above.
const names = Object.keys(sound) as CommandName[];
const payloadOf = (name: CommandName): Uint8Array => sound[name] ?? new Uint8Array(0);

const irqs = (fields: Parameters<typeof vfio_irq_set.encode>[0]): Uint8Array =>
  vfio_irq_set.encode({ argsz: 20, index: 2, count: 1, ...fields });
const access = (fields: Parameters<typeof vfio_user_region_access.encode>[0]): Uint8Array =>
  vfio_user_region_access.encode({ region: 7, ...fields });
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_TRIGGER } = irqSetFlag;

describe('a malformed command', () => {
  it.each(names)(
    '%s is refused when it is short, long, or has descriptors it must not have, and taken when it is sound',
    async (name) => {
      const served = movable();
      const wire = await served.wire();
      const payload = payloadOf(name);
      const form: CommandForm = commands[name];
      if (form.least > 0)
        expect(await wire.refusal(name, payload.subarray(0, form.least - 1))).toBe(errno.EINVAL);
      expect(await wire.refusal(name, joined(payload, Uint8Array.of(0)))).not.toBe(0);
      const event = served.descriptors.createEvent();
      const tooMany = Array.from({ length: Math.min(form.descriptors ?? 0, 16) + 1 }, () => event);
      expect(await wire.refusal(name, payload, { descriptors: tooMany })).toBe(errno.EINVAL);
      event.close();
      expect(await wire.refusal(name, payload)).toBe(untimely[name] ?? 0);
      wire.close();
      await served.expectNothingLeft();
      const next = await served.wire();
      expect(await next.refusal('DEVICE_GET_INFO', payloadOf('DEVICE_GET_INFO'))).toBe(0);
    },
  );

  it.each<[string, CommandName, Uint8Array]>([
    [
      'a region that is not there',
      'DEVICE_GET_REGION_INFO',
      vfio_region_info.encode({ argsz: 32, index: 9 }),
    ],
    ['no room for the reply', 'DEVICE_GET_REGION_INFO', vfio_region_info.encode({ argsz: 31 })],
    ['no room for the reply', 'DEVICE_GET_INFO', vfio_user_device_info.encode({ argsz: 15 })],
    ['no room for the reply', 'DEVICE_GET_IRQ_INFO', vfio_irq_info.encode({ argsz: 15 })],
    ['no room for the reply', 'DEVICE_GET_REGION_IO_FDS', vfio_user_region_io_fds.encode({ argsz: 15 })],
    [
      'a region that is not there',
      'DEVICE_GET_REGION_IO_FDS',
      vfio_user_region_io_fds.encode({ argsz: 99, index: 9 }),
    ],
    ['flags', 'DEVICE_GET_REGION_IO_FDS', vfio_user_region_io_fds.encode({ argsz: 99, flags: 1 })],
    ['a kind that is not there', 'DEVICE_GET_IRQ_INFO', vfio_irq_info.encode({ argsz: 16, index: 5 })],
    ['a kind that is not there', 'DEVICE_SET_IRQS', irqs({ index: 5, flags: DATA_NONE | ACTION_TRIGGER })],
    ['no action', 'DEVICE_SET_IRQS', irqs({ flags: DATA_NONE })],
    ['two actions', 'DEVICE_SET_IRQS', irqs({ flags: DATA_NONE | ACTION_TRIGGER | ACTION_MASK })],
    ['no kind of data', 'DEVICE_SET_IRQS', irqs({ flags: ACTION_TRIGGER })],
    ['two kinds of data', 'DEVICE_SET_IRQS', irqs({ flags: DATA_NONE | DATA_EVENTFD | ACTION_TRIGGER })],
    ['unknown flags', 'DEVICE_SET_IRQS', irqs({ flags: DATA_NONE | ACTION_TRIGGER | 0x40 })],
    ['vectors that are not there', 'DEVICE_SET_IRQS', irqs({ start: 4, flags: DATA_NONE | ACTION_TRIGGER })],
    [
      'more vectors than there are',
      'DEVICE_SET_IRQS',
      irqs({ start: 0xffff_ffff, count: 0xffff_ffff, flags: DATA_NONE | ACTION_TRIGGER }),
    ],
    ['no vector to mask', 'DEVICE_SET_IRQS', irqs({ count: 0, flags: DATA_NONE | ACTION_MASK })],
    ['fewer bytes than vectors', 'DEVICE_SET_IRQS', irqs({ count: 2, flags: DATA_BOOL | ACTION_MASK })],
    ['an end behind the region', 'REGION_READ', access({ offset: 254n, count: 4 })],
    ['an offset near 2^64', 'REGION_READ', access({ offset: 2n ** 64n - 1n, count: 4 })],
    ['a region that is not there', 'REGION_READ', access({ region: 9, count: 1 })],
    ['a region that is empty', 'REGION_READ', access({ region: 6, count: 1 })],
    ['more than a message holds', 'REGION_READ', access({ region: 0, count: 0xffff_ffff })],
    ['less data than said', 'REGION_WRITE', joined(access({ offset: 60n, count: 4 }), Uint8Array.of(1))],
    ['fewer writes than said', 'REGION_WRITE_MULTI', vfio_user_write_multi.encode({ wr_cnt: 1n })],
    ['2^60 writes', 'REGION_WRITE_MULTI', vfio_user_write_multi.encode({ wr_cnt: 2n ** 60n })],
    [
      'a write of 9 bytes',
      'REGION_WRITE_MULTI',
      joined(vfio_user_write_multi.encode({ wr_cnt: 1n }), vfio_user_write.encode({ region: 7, count: 9 })),
    ],
    [
      'an address near 2^64',
      'DMA_MAP',
      vfio_user_dma_map.encode({ flags: 3, address: 2n ** 64n - 4096n, size: 4096n }),
    ],
    [
      'an end behind 2^64',
      'DMA_MAP',
      vfio_user_dma_map.encode({ flags: 3, address: 4096n, size: 2n ** 64n - 4096n }),
    ],
  ])('with %s (%s) is refused, and the connection goes on', async (_, name, payload) => {
    const served = new Served();
    const wire = await served.wire();
    expect(await wire.refusal(name, payload)).toBe(errno.EINVAL);
    wire.send(name, payload, { flags: headerFlag.NO_REPLY });
    expect(await wire.refusal('DEVICE_RESET')).toBe(0);
    expect(served.errors).toHaveLength(2);
    wire.close();
    await served.expectNothingLeft();
  });

  it('with fewer descriptors than interrupts, or with some for no interrupt, is refused and they are closed', async () => {
    const served = new Served();
    const wire = await served.wire();
    const event = served.descriptors.createEvent();
    for (const payload of [
      irqs({ count: 2, flags: DATA_EVENTFD | ACTION_TRIGGER }),
      irqs({ flags: DATA_NONE | ACTION_TRIGGER }),
      irqs({ index: 0, flags: DATA_NONE | ACTION_MASK }),
    ]) {
      expect(await wire.refusal('DEVICE_SET_IRQS', payload, { descriptors: [event] })).toBe(errno.EINVAL);
    }
    event.close();
    expect(served.descriptors.open).toBe(0);
    wire.close();
  });

  it('with memory where an event is due is refused or does nothing, and is closed in the end', async () => {
    const served = new Served();
    const wire = await served.wire();
    const memory = served.descriptors.createMemory(4096);
    const unmask = irqs({ index: 0, flags: DATA_EVENTFD | 0x10 });
    expect(await wire.refusal('DEVICE_SET_IRQS', unmask, { descriptors: [memory] })).toBe(errno.EINVAL);
    const bind = irqs({ index: 0, flags: DATA_EVENTFD | ACTION_TRIGGER });
    expect(await wire.refusal('DEVICE_SET_IRQS', bind, { descriptors: [memory] })).toBe(0);
    served.go();
    served.change();
    memory.close();
    wire.close();
    await served.expectNothingLeft();
  });
});

describe('what is no command', () => {
  const header = (fields: Parameters<typeof vfio_user_header.encode>[0]): Uint8Array =>
    vfio_user_header.encode({ msg_size: 16, cmd: commands.DEVICE_RESET.id, ...fields });

  it.each<[string, Uint8Array]>([
    ['a message shorter than its header', header({ msg_size: 15 })],
    ['a message of 4 GiB', header({ msg_size: 0xffff_ffff })],
    ['a message of no type', header({ flags: 2 })],
    ['a reply to nothing', header({ flags: headerFlag.REPLY })],
  ])('ends the connection: %s', async (_, bytes) => {
    const served = new Served();
    const wire = await served.wire();
    const event = served.descriptors.createEvent();
    wire.raw(bytes, [event]);
    event.close();
    await vi.waitFor(() => expect(wire.ended).toBe(true));
    expect(served.left.map((error) => error?.code)).toEqual(['BAD_MESSAGE']);
    await served.expectNothingLeft();
    await served.wire();
    expect(served.server.connected).toBe(true);
  });

  it('ends the connection: a second version', async () => {
    const served = new Served();
    const wire = await served.wire();
    wire.send('VERSION', encodeVersion({}));
    await vi.waitFor(() => expect(wire.ended).toBe(true));
    expect(served.left.map((error) => error?.code)).toEqual(['BAD_MESSAGE']);
  });

  it.each<[string, CommandName, Uint8Array]>([
    ['a command before the version', 'DEVICE_RESET', new Uint8Array(0)],
    ['capabilities without an end', 'VERSION', vfio_user_version.encode({ data: [...encodeUtf8('{}')] })],
    ['capabilities that are no JSON', 'VERSION', vfio_user_version.encode({ data: [...encodeUtf8('{'), 0] })],
    [
      'capabilities that are no object',
      'VERSION',
      vfio_user_version.encode({ data: [...encodeUtf8('1'), 0] }),
    ],
    [
      'a capability that is no number',
      'VERSION',
      vfio_user_version.encode({ data: [...encodeUtf8('{"capabilities":{"max_msg_fds":"8"}}'), 0] }),
    ],
    [
      'a capability below zero',
      'VERSION',
      vfio_user_version.encode({ data: [...encodeUtf8('{"capabilities":{"max_msg_fds":-1}}'), 0] }),
    ],
    [
      'capabilities without end',
      'VERSION',
      vfio_user_version.encode({ data: new Array(9000).fill(32).concat(0) }),
    ],
  ])('ends the connection: %s', async (_, name, payload) => {
    const served = new Served();
    const wire = new Wire(served.connect());
    wire.send(name, payload);
    await vi.waitFor(() => expect(wire.ended).toBe(true));
    expect(served.left.map((error) => error?.code)).toEqual(['BAD_MESSAGE']);
    await served.expectNothingLeft();
  });

  it('may break off anywhere', async () => {
    const served = new Served();
    const event = served.descriptors.createEvent();
    const whole = joined(
      vfio_user_header.encode({ cmd: commands.DMA_MAP.id, msg_size: 48 }),
      payloadOf('DMA_MAP'),
    );
    for (const length of [1, 15, 16, 17, 47]) {
      const wire = await served.wire();
      wire.raw(whole.subarray(0, length), [event]);
      wire.close();
      await vi.waitFor(() => expect(served.server.connected).toBe(false));
    }
    event.close();
    await served.expectNothingLeft();
  });
});

describe('whatever comes', () => {
  const anyCommand = fc.record({
    command: fc.oneof(fc.constantFrom(...names), fc.integer({ min: 0, max: 20 })),
    from: fc.constantFrom(...names),
    changes: fc.array(fc.record({ at: fc.nat(40), byte: fc.constantFrom(0, 1, 2, 0x20, 0x7f, 0xff) }), {
      maxLength: 3,
    }),
    cut: fc.option(fc.nat(60)),
    kinds: fc.array(fc.constantFrom('event', 'memory'), { maxLength: 3 }),
    quiet: fc.boolean(),
  });

  it('is answered or ends the connection, throws nothing, and leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyCommand, { maxLength: 12 }), async (script) => {
        const served = movable();
        const wire = new Wire(served.connect());
        wire.send('VERSION', encodeVersion({ max_msg_fds: 16 }));
        for (const { command, from, changes, cut, kinds, quiet } of script) {
          const payload = payloadOf(from).slice();
          for (const { at, byte } of changes) if (at < payload.length) payload[at] = byte;
          const descriptors = kinds.map((kind) =>
            kind === 'event' ? served.descriptors.createEvent() : served.descriptors.createMemory(0x10000),
          );
          const flags = quiet ? headerFlag.NO_REPLY : 0;
          wire.send(command, payload.subarray(0, cut ?? payload.length), { descriptors, flags });
          for (const descriptor of descriptors) descriptor.close();
        }
        const last = wire.send('DEVICE_RESET');
        await vi.waitFor(() => expect(wire.ended || wire.messages.some(({ id }) => id === last)).toBe(true), {
          interval: 1,
        });
        for (const { descriptors } of wire.messages) for (const one of descriptors) one.close();
        wire.close();
        await served.expectNothingLeft();
        expect(served.errors.every(({ code }) => code === 'BAD_MESSAGE' || code === 'IO_ERROR')).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('may be any bytes at all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
        fc.boolean(),
        async (pieces, greeted) => {
          const served = new Served();
          const wire = new Wire(served.connect());
          if (greeted) wire.send('VERSION', encodeVersion({}));
          for (const piece of pieces) {
            const event = served.descriptors.createEvent();
            wire.raw(piece, [event]);
            event.close();
          }
          wire.close();
          await served.expectNothingLeft();
        },
      ),
      { numRuns: 200 },
    );
  });
});
