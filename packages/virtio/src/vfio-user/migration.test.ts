import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { device } from '../device/device.ts';
import { blkDevice } from '../devices/blk/device.ts';
import { openBlk } from '../devices/blk/driver.ts';
import { memoryStorage } from '../devices/blk/memory-storage.ts';
import type { Storage } from '../devices/blk/storage.ts';
import { openEntropy } from '../devices/entropy/driver.ts';
import { entropy } from '../devices/entropy/spec.ts';
import { UsageError } from '../errors.ts';
import { joined } from '../spec/joined.ts';
import { decodeUtf8, encodeUtf8 } from '../spec/utf8.ts';
import { room } from '../transports/pci/connect.ts';
import { pciMigration } from '../transports/pci/migration.ts';
import { openPci } from '../transports/pci/open-pci.ts';
import { VfioUserClient } from './client.ts';
import { VfioPciFunction } from './client-function.ts';
import {
  deviceFeature,
  errno,
  featureFlag,
  migrationState,
  vfio_user_device_feature,
  vfio_user_device_feature_mig_state,
  vfio_user_device_feature_migration,
  vfio_user_mig_data,
} from './messages.ts';
import { Served, type Wire } from './vfio-user.fixture.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING } = migrationState;
const movable = (of?: ConstructorParameters<typeof Served>[0]): Served =>
  new Served(of, {}, () => ({ migration: pciMigration }));

const feature = (flags: number, data: Uint8Array = new Uint8Array(0)): Uint8Array =>
  joined(vfio_user_device_feature.encode({ argsz: 64, flags }), data);
const stateOf = (device_state: number): Uint8Array =>
  feature(
    deviceFeature.MIG_DEVICE_STATE | featureFlag.SET,
    vfio_user_device_feature_mig_state.encode({ device_state }),
  );
const become = (wire: Wire, state: number): Promise<number> => wire.refusal('DEVICE_FEATURE', stateOf(state));
const present = async (wire: Wire): Promise<number> => {
  const reply = await wire.ask('DEVICE_FEATURE', feature(deviceFeature.MIG_DEVICE_STATE | featureFlag.GET));
  return vfio_user_device_feature_mig_state.read(reply.view, 8).device_state;
};
const readData = async (wire: Wire, size: number): Promise<Uint8Array> => {
  const reply = await wire.ask('MIG_DATA_READ', vfio_user_mig_data.encode({ argsz: 8 + size, size }));
  return reply.payload.subarray(8);
};
const writeData = (wire: Wire, data: Uint8Array): Promise<number> =>
  wire.refusal('MIG_DATA_WRITE', joined(vfio_user_mig_data.encode({ argsz: 8, size: data.length }), data));

/** A disk whose reads come when they are told to. */
function heldUp(begun: (finish: () => void) => void): Storage {
  const { size } = memoryStorage(2 ** 20);
  return {
    size,
    readOnly: false,
    immediate: false,
    read: (_offset, target) =>
      new Promise((resolve) => {
        begun(() => {
          target.fill(5);
          resolve();
        });
      }),
    write: async () => {},
    flush: async () => {},
  };
}

describe('migration', () => {
  it('takes a disk that is at work to another server, and its driver along', async () => {
    const storage = memoryStorage(2 ** 20);
    const from = movable(blkDevice({ storage }));
    const to = movable(blkDevice({ storage }));
    const shared = from.sharedMemory();
    const { descriptors } = from;
    const source = await VfioPciFunction.open(from.connect(), { descriptors, shared });
    const disk = await openBlk(await openPci(source, { room }));
    await disk.write(8, new Uint8Array(512).fill(7));
    expect(await source.client.canMigrate()).toBe(true);
    const state = await source.client.saveState();
    // Two servers of one machine share its memory; here each knows its own descriptors, so the bytes are lent again.
    const ranges = shared.memory.regions.map(({ start, bytes }) => ({
      address: start,
      size: bytes.length,
      descriptor: to.descriptors.lend(bytes),
    }));
    const target = await VfioPciFunction.open(to.connect(), {
      descriptors: to.descriptors,
      shared: { memory: shared.memory, allocator: shared.allocator, ranges },
    });
    const reading = disk.read(8, 1);
    let done = false;
    void reading.then(() => {
      done = true;
    });
    await source.client.deviceInfo();
    expect(done).toBe(false);
    await target.client.restoreState(state);
    // The source's driver is not told by the target, but sees the ring when its own interrupt comes.
    await vi.waitFor(() => expect(to.server.pciFunction.core.status).toBe(0x0f));
    expect(to.violations).toEqual([]);
    const { queues } = from.server.pciFunction.core;
    expect(to.server.pciFunction.core.queues).toEqual(queues);
    await source.client.actOnIrqs(2, 0, 2, 'trigger');
    expect((await reading)[0]).toBe(7);
    for (const { descriptor } of ranges) descriptor.close();
    target.close();
    source.close();
    shared.close();
    await from.expectNothingLeft();
    await to.expectNothingLeft();
  });

  it('refuses while a device cannot be saved, which goes on as it was', async () => {
    const served = movable(
      device(entropy, {
        serve: { requestq: (chain) => chain.writable.fill(7, chain.writable.length) },
        save() {
          throw new UsageError('BAD_STATE', 'not now');
        },
      }),
    );
    const shared = served.sharedMemory();
    const source = await VfioPciFunction.open(served.connect(), { descriptors: served.descriptors, shared });
    const random = await openEntropy(await openPci(source, { room }));
    await expect(source.client.saveState()).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(await random.read(4)).toEqual(Uint8Array.of(7, 7, 7, 7));
    await random.close();
    source.close();
    shared.close();
    await served.expectNothingLeft();
  });

  it('says what it can, and in which state it is', async () => {
    const served = movable();
    const wire = await served.wire();
    const reply = await wire.ask('DEVICE_FEATURE', feature(deviceFeature.MIGRATION | featureFlag.GET));
    expect(vfio_user_device_feature_migration.read(reply.view, 8).flags).toBe(1n);
    const { GET, SET, PROBE } = featureFlag;
    for (const [flags, expected] of [
      [deviceFeature.MIGRATION | GET | PROBE, 0],
      [deviceFeature.MIGRATION | SET | PROBE, errno.ENOTTY],
      [deviceFeature.MIG_DEVICE_STATE | GET | SET | PROBE, 0],
      [5 | SET | PROBE, errno.ENOTTY],
      [deviceFeature.MIGRATION | SET, errno.EINVAL],
      [deviceFeature.MIG_DEVICE_STATE | GET | SET, errno.EINVAL],
    ] as const) {
      expect(await wire.refusal('DEVICE_FEATURE', feature(flags))).toBe(expected);
    }
    for (const state of [STOP, STOP_COPY, RUNNING, STOP_COPY, STOP, RUNNING, RUNNING, STOP]) {
      expect(await become(wire, state)).toBe(0);
      expect(await present(wire)).toBe(state);
      expect(served.server.pciFunction.stopped).toBe(state !== RUNNING);
    }
    for (const state of [ERROR, 5, 6, 99]) expect(await become(wire, state)).toBe(errno.EINVAL);
    expect(await wire.refusal('DEVICE_RESET')).toBe(0);
    expect([await present(wire), served.server.pciFunction.stopped]).toEqual([RUNNING, false]);
    wire.close();
    await served.expectNothingLeft();
  });

  it('is refused where the server has none', async () => {
    const served = new Served();
    const client = await VfioUserClient.connect(served.connect());
    expect(await client.canMigrate()).toBe(false);
    client.close();
  });

  it('stops when all that was begun is done; commands wait meanwhile, in their order', async () => {
    const begun: (() => void)[] = [];
    const slow = heldUp((finish) => void begun.push(finish));
    const served = movable(blkDevice({ storage: slow }));
    const shared = served.sharedMemory();
    const { descriptors } = served;
    const pciFunction = await VfioPciFunction.open(served.connect(), { descriptors, shared });
    const disk = await openBlk(await openPci(pciFunction, { room }));
    const reading = disk.read(0, 1);
    await vi.waitFor(() => expect(begun).toHaveLength(1));
    const order: string[] = [];
    const saving = pciFunction.client.saveState().then(() => order.push('saved'));
    const asking = pciFunction.client.deviceInfo().then(() => order.push('told'));
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(order).toEqual([]);
    begun[0]?.();
    await Promise.all([saving, asking]);
    expect(order[0]).toBe('told');
    // Its driver hears of it when it goes on.
    await pciFunction.client.goOn();
    expect((await reading).length).toBe(512);
    pciFunction.close();
    shared.close();
    await served.expectNothingLeft();
  });

  it('that is under way when the client leaves does not hold the next one up', async () => {
    const served = movable(blkDevice({ storage: heldUp(() => {}) }));
    const shared = served.sharedMemory();
    const { descriptors } = served;
    const pciFunction = await VfioPciFunction.open(served.connect(), { descriptors, shared });
    const disk = await openBlk(await openPci(pciFunction, { room }));
    disk.read(0, 1).catch(() => {}); // it never comes
    const saving = pciFunction.client.saveState();
    const asking = pciFunction.client.deviceInfo();
    for (const one of [saving, asking]) one.catch(() => {}); // looked at below
    pciFunction.close();
    await expect(saving).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await expect(asking).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    shared.close();
    await served.expectNothingLeft();
    const next = await served.wire();
    expect(await present(next)).toBe(RUNNING);
    next.close();
  });

  it('moves data in pieces, and only in its states', async () => {
    const served = movable();
    const wire = await served.wire();
    expect(await wire.refusal('MIG_DATA_READ', vfio_user_mig_data.encode({ argsz: 24, size: 16 }))).toBe(
      errno.EINVAL,
    );
    expect(await writeData(wire, Uint8Array.of(1))).toBe(errno.EINVAL);
    await become(wire, STOP_COPY);
    expect(await wire.refusal('MIG_DATA_READ', vfio_user_mig_data.encode({ argsz: 8, size: 1 }))).toBe(
      errno.EINVAL,
    );
    expect(
      await wire.refusal(
        'MIG_DATA_READ',
        vfio_user_mig_data.encode({ argsz: 0xffff_ffff, size: 0x7fff_ffff }),
      ),
    ).toBe(errno.EINVAL);
    const pieces: Uint8Array[] = [];
    for (let last = 100; last === 100; last = pieces.at(-1)!.length) pieces.push(await readData(wire, 100));
    expect((await readData(wire, 100)).length).toBe(0);
    const state = joined(...pieces);
    expect(JSON.parse(decodeUtf8(state)).core.type).toBe(20);
    await become(wire, RESUMING);
    expect(await wire.refusal('MIG_DATA_WRITE', vfio_user_mig_data.encode({ size: 1 }))).toBe(errno.EINVAL);
    for (const piece of pieces) expect(await writeData(wire, piece)).toBe(0);
    expect(await become(wire, RUNNING)).toBe(0);
    expect(await become(wire, RESUMING)).toBe(0);
    expect(await become(wire, STOP)).toBe(errno.EINVAL);
    expect(await present(wire)).toBe(ERROR);
    expect(await become(wire, RUNNING)).toBe(errno.EINVAL);
    await wire.ask('DEVICE_RESET');
    expect(await present(wire)).toBe(RUNNING);
    wire.close();
    await served.expectNothingLeft();
  });

  /** Replaces one value somewhere within. */
  function spoilt(value: unknown, way: readonly number[], by: unknown): unknown {
    if (typeof value !== 'object' || value === null || way.length === 0) return by;
    const keys = Object.keys(value);
    const key = keys[(way[0] ?? 0) % Math.max(1, keys.length)];
    if (key === undefined) return by;
    const inner = spoilt(Object(value)[key], way.slice(1), by);
    return Array.isArray(value)
      ? value.map((one, i) => (String(i) === key ? inner : one))
      : { ...value, [key]: inner };
  }

  it('takes no state that is none, and lives', async () => {
    const served = movable();
    served.go();
    const client = await VfioUserClient.connect(served.connect());
    const sound: unknown = JSON.parse(decodeUtf8(await client.saveState()));
    const odd = fc.constantFrom<unknown>(
      null,
      -1,
      1,
      0.5,
      1e300,
      2 ** 40,
      'x',
      [],
      {},
      true,
      undefined,
      [1e9],
      { length: 1e9 },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(300), { maxLength: 5 }), odd, async (way, by) => {
        const state = encodeUtf8(JSON.stringify(spoilt(sound, way, by)) ?? '');
        await client.restoreState(state).catch(async (error) => {
          expect(error).toMatchObject({ code: 'IO_ERROR' });
          await client.reset();
        });
        await client.reset();
        expect(served.server.pciFunction.core.status).toBe(0);
      }),
      { numRuns: 1000 },
    );
    for (const bytes of [encodeUtf8('null'), encodeUtf8('{'), Uint8Array.of(0xff), encodeUtf8('[]')]) {
      await expect(client.restoreState(bytes)).rejects.toMatchObject({ code: 'IO_ERROR' });
      await client.reset();
    }
    await client.restoreState(encodeUtf8(JSON.stringify(sound)));
    expect(served.server.pciFunction.core.status).toBe(0x0f);
    client.close();
    await served.expectNothingLeft();
  });
});
