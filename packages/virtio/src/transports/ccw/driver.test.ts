import { describe, expect, it } from 'vitest';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { Transport } from '../../driver/transport.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import { status as deviceStatusBits } from '../../spec/status.ts';
import { sampleDevice } from './ccw.fixture.ts';
import type { ChannelIo } from './channel-io.ts';
import { sample, tapped } from './driver.fixture.ts';
import { CcwTransport } from './driver.ts';
import { findCcwDevices } from './find.ts';
import { legacyCcwDevice, legacyCcwDriver } from './legacy.ts';
import { irb, scsw, senseid } from './status.ts';

const openSample = (transport: Transport): Promise<OpenDevice<typeof sample>> =>
  open(transport, sample, { features: ['LOW'] });

const field = irb.field.scsw.offset;
const status = {
  dstat: field + scsw.field.dstat.offset,
  cstat: field + scsw.field.cstat.offset,
  count: field + scsw.field.count.offset,
  flags: field + scsw.field.flags.offset,
};
const ecw = irb.field.ecw.offset;

describe('a driver', () => {
  // @holds 4.3.1.4 driver: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
  it('looks at the control unit type, and at neither device type nor model', async () => {
    const way = tapped({
      data: (bytes, { name }) => {
        if (name === 'SENSE_ID') bytes.set([0xff, 0x38, 0x32, 20, 0x33, 0x90, 0x0c]);
      },
    });
    expect((await way.open()).deviceId).toBe(20);
    const other = tapped({
      data: (bytes, { name }) => {
        if (name === 'SENSE_ID') bytes.set([0xff, 0x39, 0x90, 20]);
      },
    });
    await expect(other.open()).rejects.toThrow(/control unit of type 0x3990, no virtio device/);
    await expect(other.open()).rejects.toThrow(UsageError);
  });

  // @holds 4.3.1.4 driver: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
  it('gives each command its length, even where it is suppressed', async () => {
    const way = tapped();
    await openSample(await way.open());
    const lengths = new Map(way.issued.map(({ name, count }) => [name, count]));
    expect(Object.fromEntries(lengths)).toMatchObject({
      ...{ SENSE_ID: 7, SET_VIRTIO_REV: 4, VDEV_RESET: 0, READ_STATUS: 1, WRITE_STATUS: 1, READ_FEAT: 5 },
      ...{ WRITE_FEAT: 5, READ_VQ_CONF: 4, SET_VQ: 32, SET_IND_ADAPTER: 25, SET_CONF_IND: 8 },
    });
    const suppressed = new Set(
      way.issued.filter(({ flags }) => (flags & 0x20) !== 0).map(({ name }) => name),
    );
    expect([...suppressed].sort()).toEqual(['READ_CONF', 'SENSE_ID']);
    expect(way.errors).toEqual([]);
  });

  // @holds 4.3.2.1.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('sets the revision before anything else, from the highest downwards, and once', async () => {
    for (const highest of [1, 2] as const) {
      const way = tapped({}, { unit: { revision: highest } });
      const transport = await way.open();
      expect(transport.revision).toBe(highest);
      await openSample(transport);
      const names = way.issued.map(({ name }) => name);
      const tried = way.issued.filter(({ name }) => name === 'SET_VIRTIO_REV').map(({ data }) => data[1]);
      expect(tried).toEqual(highest === 2 ? [2] : [2, 1]);
      expect(names.slice(0, tried.length + 1)).toEqual(['SENSE_ID', ...tried.map(() => 'SET_VIRTIO_REV')]);
      expect(names.lastIndexOf('SET_VIRTIO_REV')).toBe(tried.length);
    }
  });

  // @holds 4.3.2.1.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('begins no higher than it is told', async () => {
    const way = tapped();
    expect((await way.open({ revision: 1 })).revision).toBe(1);
    expect(way.issued.at(-1)?.data).toEqual([0, 1, 0, 0]);
  });

  it('leaves a legacy device alone unless it is given the legacy interface', async () => {
    for (const withoutRevisions of [false, true]) {
      const unit = { revision: 0, legacy: legacyCcwDevice(), withoutRevisions } as const;
      const way = tapped({}, { unit });
      await expect(way.open()).rejects.toMatchObject({ code: 'REVISION_REFUSED' });
      const transport = await way.open({ legacy: legacyCcwDriver() });
      expect(transport.revision).toBe(0);
      expect(transport.legacy).toMatchObject({ endian: 'big' });
      const before = way.issued.length;
      await openSample(transport);
      expect(way.issued.slice(before).map(({ name }) => name)).not.toContain('READ_STATUS');
      expect(way.errors.filter((one) => !one.includes('before a revision'))).toEqual([]);
    }
    await expect(tapped().open({ revision: 0 })).rejects.toThrow(/legacyCcwDriver/);
  });

  // @holds 4.3.2.3.1 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
  it('takes a rejected status for one that did not change', async () => {
    for (const revision of [1, 2] as const) {
      const way = tapped({}, { revision }, { negotiate: () => 'cannot do that' });
      const transport = await way.open();
      await expect(openSample(transport)).rejects.toMatchObject({ code: 'FEATURES_NOT_ACCEPTED' });
      const { ACKNOWLEDGE, DRIVER, FAILED } = deviceStatusBits;
      expect(await transport.readStatus()).toBe(ACKNOWLEDGE | DRIVER | FAILED);
      expect(way.subsystem.unit(way.schid).core.status).toBe(ACKNOWLEDGE | DRIVER | FAILED);
    }
  });

  // @holds 4.3.2.3.1 driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
  it('reads the status after a configuration change from revision 2 on, and never before', async () => {
    for (const revision of [1, 2] as const) {
      const way = tapped({}, { revision });
      const opened = await openSample(await way.open());
      const before = way.issued.length;
      way.device.updateConfig({ short: 5 });
      for (let i = 0; i < 200; i++) await Promise.resolve();
      const names = way.issued.slice(before).map(({ name }) => name);
      expect(names.includes('READ_STATUS')).toBe(revision === 2);
      if (revision === 1) expect(way.issued.map(({ name }) => name)).not.toContain('READ_STATUS');
      await opened.close();
    }
  });

  // @holds 4.3.3.2.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Guest->Host Notification
  it('passes the cookie of each queue’s last notification with its next', async () => {
    let next = 0n;
    const way = tapped({ cookie: () => ++next });
    const transport = await way.open();
    await openSample(transport);
    for (const queue of [0, 1, 0, 1, 0]) {
      transport.kick(queue, undefined);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(way.notified).toEqual([
      { data: 0, cookie: 0n },
      { data: 1, cookie: 0n },
      { data: 0, cookie: 1n },
      { data: 1, cookie: 2n },
      { data: 0, cookie: 3n },
    ]);
  });

  it('sends notification data in the upper half of the register', async () => {
    const way = tapped();
    const transport = await way.open();
    transport.kick(2, 0x8001);
    expect(way.notified).toEqual([{ data: 0x8001_0002, cookie: 0n }]);
  });

  // @holds 4.3.3.3.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Resetting Devices
  it('takes a reset for complete when its command has ended, and looks where it can', async () => {
    const way = tapped();
    await openSample(await way.open());
    const names = way.issued.map(({ name }) => name);
    const at = names.indexOf('VDEV_RESET');
    expect(names[at + 1]).toBe('READ_STATUS');
    const older = tapped({}, { revision: 1 });
    await openSample(await older.open());
    const olderNames = older.issued.map(({ name }) => name);
    expect(olderNames[olderNames.indexOf('VDEV_RESET') + 1]).toBe('WRITE_STATUS');
  });

  it('falls back to classic indicators where the device rejects the others', async () => {
    const way = tapped({
      irb: (view, last) => {
        if (last?.name !== 'SET_IND_ADAPTER') return;
        view.setUint8(status.dstat, 0x0e);
        view.setUint32(irb.field.esw.offset + 4, 0x0100_0000);
        view.setUint8(ecw, 0x80);
      },
    });
    const transport = await way.open();
    expect(transport.interrupts).toBe('none');
    // The device behind the tap has taken them, so that it rejects the classic ones.
    await expect(openSample(transport)).rejects.toMatchObject({ code: 'COMMAND_FAILED' });
    expect(way.issued.map(({ name }) => name)).toContain('SET_IND');
    const chosen = tapped();
    const classic = await chosen.open({ adapterInterrupts: false });
    await openSample(classic);
    expect(classic.interrupts).toBe('classic');
    expect(chosen.issued.map(({ name }) => name)).not.toContain('SET_IND_ADAPTER');
  });

  it('asks for sense data that do not come by themselves', async () => {
    const way = tapped(
      {
        irb: (view, last) => {
          if (last?.name === 'SENSE') return;
          view.setUint32(irb.field.esw.offset + 4, 0);
        },
        data: (bytes, { name }) => {
          if (name === 'SENSE') bytes[0] = 0x80;
        },
      },
      { unit: { revision: 1 } },
    );
    expect((await way.open()).revision).toBe(1);
    expect(way.issued.map(({ name }) => name)).toEqual([
      'SENSE_ID',
      'SET_VIRTIO_REV',
      'SENSE',
      'SET_VIRTIO_REV',
    ]);
  });

  it('resets and disables on close, and can be used again', async () => {
    const way = tapped();
    const transport = await way.open();
    const opened = await openSample(transport);
    const free = way.io.allocator.available;
    await opened.close();
    expect(way.subsystem.unit(way.schid).core.status).toBe(0);
    expect(way.subsystem.startSubchannel(way.schid, 4096)).toBe(3);
    expect(way.io.allocator.available).toBeGreaterThan(free);
    expect(await transport.readStatus()).toBe(0);
    expect([...(await transport.readConfig(0, 4))]).toEqual([0x88, 0x77, 0x66, 0x55]);
    await expect(transport.readDeviceFeatures()).rejects.toMatchObject({ code: 'BAD_STATE' });
    await transport.close();
    await openSample(transport);
    expect(way.subsystem.unit(way.schid).core.live).toBe(true);
    expect(way.subsystem.unit(way.schid).revision).toBe(2);
  });

  it('resets no queue, as there is no such command', async () => {
    const transport = await tapped().open();
    await expect(transport.resetQueue(0)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
  });

  it('has a generation that moves when what it reads has changed', async () => {
    const way = tapped();
    const transport = await way.open();
    await transport.readConfig(14, 2);
    const before = await transport.configGeneration();
    expect(await transport.configGeneration()).toBe(before);
    way.device.updateConfig({ short: 77 });
    expect(await transport.configGeneration()).not.toBe(before);
    const short = await transport.readConfig(14, 2);
    expect([...short]).toEqual([77, 0]);
    expect([...(await transport.readConfig(100, 4))]).toEqual([0, 0, 0, 0]);
  });

  it('refuses subclasses that do not exist', async () => {
    for (const isc of [-1, 8, 1.5]) await expect(tapped().open({ isc })).rejects.toThrow(UsageError);
  });

  it('hears of the devices of its own machine alone', async () => {
    const way = tapped();
    const second = way.subsystem.add(sampleDevice());
    const found = await findCcwDevices(way.io);
    expect(found.map(({ schid, deviceId }) => [schid, deviceId])).toEqual([
      [way.schid, 20],
      [second, 20],
    ]);
    expect(found.map(({ devno }) => devno)).toEqual([0, 1]);
  });

  it('begins anew with a subchannel that firmware has left enabled', async () => {
    const way = tapped();
    let leave = (): void => {};
    const listen: ChannelIo['listen'] = (listener) => {
      leave = way.io.listen(listener);
      return leave;
    };
    await CcwTransport.open({ ...way.io, listen }, way.schid, { revision: 1 });
    leave();
    expect(way.subsystem.unit(way.schid).revision).toBe(1);
    expect((await way.open()).revision).toBe(2);
  });

  it('shares its machine and its interruption subclass with others', async () => {
    const behaviour = { serve: { first: () => {} } };
    const way = tapped({}, {}, behaviour);
    const second = way.subsystem.add(sampleDevice(behaviour));
    const transports = [await way.open(), await CcwTransport.open(way.io, second)];
    const opened = await Promise.all(transports.map(openSample));
    const answers = opened.map((one) => one.queue('first').request(Uint8Array.of(1, 2), 64));
    expect(await Promise.all(answers)).toEqual([new Uint8Array(0), new Uint8Array(0)]);
    expect(transports.map(({ interrupts }) => interrupts)).toEqual(['adapter', 'adapter']);
  });

  it('passes by devices that do not say what they are', async () => {
    const way = tapped({
      irb: (view, last) => {
        if (last?.name === 'SENSE_ID') view.setUint8(status.dstat, 0x0e);
      },
    });
    expect(await findCcwDevices(way.io)).toEqual([]);
  });

  it('finds no device where there is none, and passes by what is no virtio device', async () => {
    const way = tapped({
      data: (bytes, { name }) => {
        if (name === 'SENSE_ID') bytes.set(senseid.encode({ cu_type: 0x1731 }).subarray(0, bytes.length));
      },
    });
    expect(await findCcwDevices(way.io)).toEqual([]);
    await expect(way.open({})).rejects.toThrow(UsageError);
    way.subsystem.remove(way.schid);
    expect(await findCcwDevices(way.io)).toEqual([]);
    await expect(way.open({})).rejects.toThrow(HostError);
  });
});

describe('a device that answers nonsense', () => {
  const nonsense = [
    ['a program check', (view: DataView) => view.setUint8(status.cstat, 0x20), /PROGRAM_CHECK/],
    ['an incorrect length', (view: DataView) => view.setUint8(status.cstat, 0x40), /INCORRECT_LENGTH/],
    ['busy', (view: DataView) => view.setUint8(status.dstat, 0x10), /ends it with BUSY/],
    ['unit exception', (view: DataView) => view.setUint8(status.dstat, 0x0d), /UNIT_EXCEPTION/],
    [
      'more bytes left than there were',
      (view: DataView) => view.setUint16(status.count, 9999),
      /9999 of its/,
    ],
    ['a path that is not operational', (view: DataView) => view.setUint16(status.flags, 0x0380), /path/],
  ] as const;

  it.each(nonsense)('is named, whatever the command: %s', async (_, spoil, message) => {
    for (const target of [
      'SENSE_ID',
      'SET_VIRTIO_REV',
      'VDEV_RESET',
      'READ_FEAT',
      'SET_VQ',
      'SET_IND_ADAPTER',
      'WRITE_STATUS',
    ]) {
      const way = tapped({
        irb: (view, last) => {
          if (last?.name === target) spoil(view);
        },
      });
      const driving = async (): Promise<unknown> => openSample(await way.open());
      const error: unknown = await driving().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(PeerError);
      expect(error).toMatchObject({ code: 'COMMAND_FAILED', message: expect.stringMatching(message) });
      expect(error).toMatchObject({ message: expect.stringContaining(target) });
    }
  });

  it('is named when it checks for no reason', async () => {
    const way = tapped({
      irb: (view, last) => {
        if (last?.name === 'READ_FEAT') view.setUint8(status.dstat, 0x0e);
      },
    });
    const transport = await way.open();
    await expect(transport.readDeviceFeatures()).rejects.toThrow(/sense nothing/);
  });

  it('is named when its queues are larger than queues can be', async () => {
    const way = tapped({
      data: (bytes, { name }) => {
        if (name === 'READ_VQ_CONF') bytes.set([0, 0, 0x80, 1]);
      },
    });
    await expect(openSample(await way.open())).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });

  it('is named when it refuses a notification', async () => {
    const way = tapped({ cookie: () => -22n });
    const transport = await way.open();
    let gone: Error | undefined;
    transport.listen({ usedBuffer: () => {}, configChange: () => {}, gone: (error) => (gone = error) });
    transport.kick(0, undefined);
    for (let i = 0; i < 10; i++) await Promise.resolve();
    expect(gone).toMatchObject({ code: 'BAD_RESPONSE' });
  });

  it('is given up when its subchannel never comes to rest', async () => {
    for (const busy of [1, 2]) {
      const way = tapped({ cc: (instruction) => (instruction === 'startSubchannel' ? busy : undefined) });
      await expect(way.open()).rejects.toThrow(/never comes to rest/);
    }
  });

  it('is gone when its subchannel is', async () => {
    for (const name of ['startSubchannel', 'storeSubchannel', 'modifySubchannel'] as const) {
      const way = tapped({ cc: (instruction) => (instruction === name ? 3 : undefined) });
      await expect(way.open()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    }
  });

  it('is gone when its machine is', async () => {
    const way = tapped();
    const io = {
      ...way.io,
      startSubchannel: () => Promise.reject(new HostError('DEVICE_GONE', 'the socket is closed')),
    };
    await expect(findCcwDevices(io)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });
});

describe('notifications', () => {
  // @holds 4.3.3.1.2.2 driver: Virtio Transport Options / Virtio over channel I/O / Device Operation / Host->Guest Notification / Notification via Adapter I/O Interrupts
  it('are looked for after the summary was cleared', async () => {
    const way = tapped();
    const transport = await way.open();
    const { memory } = way.io;
    const opened = await openSample(transport);
    const area = way.issued.find(({ name }) => name === 'SET_IND_ADAPTER')?.data ?? [];
    const view = new DataView(Uint8Array.from(area).buffer);
    const [summary, indicator] = [Number(view.getBigUint64(0)), Number(view.getBigUint64(8))];
    const heard: (number | undefined)[] = [];
    let summaryThen: number | undefined;
    transport.listen({
      usedBuffer(queue) {
        summaryThen ??= memory.read(summary, 1)[0];
        heard.push(queue);
      },
      configChange: () => {},
    });
    memory.write(summary, Uint8Array.of(1));
    memory.write(indicator, Uint8Array.of(0b1010_0000));
    transport.adapterInterrupt(3);
    expect(summaryThen).toBe(0);
    expect(heard).toEqual([0, 2]);
    expect(memory.read(indicator, 1)[0]).toBe(0);
    // Another device's.
    transport.adapterInterrupt(3);
    transport.adapterInterrupt(4);
    expect(heard).toHaveLength(2);
    await opened.close();
  });
});
