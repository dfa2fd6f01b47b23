import { describe, expect, it } from 'vitest';
import { open } from '../driver/open.ts';
import type { VirtioError } from '../errors.ts';
import { deviceType } from '../spec/device-type.ts';
import { reservedFeatures } from '../spec/features.ts';
import { encodeFor } from '../spec/guest-endian.ts';
import { le16, le32, le64, struct } from '../spec/layout.ts';
import { legacyReservedFeatures } from '../spec/legacy.ts';
import { status } from '../spec/status.ts';
import { fixturesOn } from '../testing/fixtures/index.ts';
import { Loopback } from '../transports/loopback/loopback.ts';
import { legacyLayout } from '../virtqueue/legacy.ts';
import { DeviceCore } from './core.ts';
import { type DeviceBehaviour, device } from './device.ts';
import { legacyInterface } from './legacy.ts';
import { restoreDevice, saveDevice } from './saving.ts';
import { useLegacy } from './use-legacy.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = status;
const { ANY_LAYOUT, UNUSED } = legacyReservedFeatures;

const type = deviceType({
  id: 63,
  name: 'sample',
  features: { BASE: 0, MORE: { bit: 1, requires: ['BASE'] }, HIGH: 50 },
  queues: { requestq: 0 },
  config: struct('sample_config', { count: le64, wish: le32 }),
  driverWritable: ['wish'],
  legacy: { features: { OLD: 5 } },
});
const message = struct('sample_message', { a: le16, b: le32 });

function attached(
  behaviour: DeviceBehaviour<typeof type> = {},
  endian: 'little' | 'big' = 'big',
  options: { readonly transitional?: boolean } = {},
) {
  const errors: [code: string, needsReset: boolean][] = [];
  const memory = new Loopback(device(type, {})).memory;
  const interrupts: number[] = [];
  const core = new DeviceCore(device(type, { offers: ['BASE', 'MORE', 'HIGH'], ...behaviour }), {
    memory,
    legacy: legacyInterface(endian),
    ...options,
    interruptQueue: (index) => void interrupts.push(index),
    interruptConfig: () => void interrupts.push(-1),
    onError: (error: VirtioError, needsReset) => void errors.push([error.code, needsReset]),
  });
  return { core, memory, errors, interrupts };
}

/** As a legacy transport does when the driver has written the place of a queue. */
function place(core: DeviceCore): void {
  const setup = core.queue(0);
  if (setup === undefined) throw new Error('no queue');
  Object.assign(setup, legacyLayout(0x4000, 8).areas);
  core.enableQueue(0);
}

describe('the legacy interface of a device', () => {
  it('offers 32 bits: no VERSION_1, and ANY_LAYOUT', () => {
    const { core } = attached({ legacyOffers: ['OLD'] });
    expect(type.featureNames(core.offered)).toEqual([
      ...['BASE', 'MORE', 'OLD', 'ANY_LAYOUT', 'INDIRECT_DESC', 'EVENT_IDX', 'UNUSED'],
    ]);
  });

  it('wants no FEATURES_OK, and names a driver that sets it', () => {
    const { core, errors } = attached();
    core.writeStatus(ACKNOWLEDGE);
    core.writeStatus(ACKNOWLEDGE | DRIVER);
    core.writeDriverFeatures(0, 1);
    core.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    expect(core.live).toBe(true);
    expect(errors).toEqual([]);
    core.writeStatus(0);
    core.writeStatus(ACKNOWLEDGE);
    core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    expect(core.status).toBe(ACKNOWLEDGE | DRIVER);
    expect(errors).toEqual([['STATUS_SEQUENCE', false]]);
  });

  it('lets a driver use the device before DRIVER_OK, and write configuration before its features', () => {
    const seen: unknown[] = [];
    const { core, errors } = attached({
      activate: ({ has, legacy }) => void seen.push(has('BASE'), legacy?.has('OLD')),
      writeConfig: (field, value) => void seen.push(field, value),
    });
    core.writeConfig(8, 4, 0x0100_0000);
    core.writeStatus(ACKNOWLEDGE | DRIVER);
    core.writeDriverFeatures(0, 1);
    place(core);
    core.notify(0);
    expect(core.live).toBe(true);
    expect(seen).toEqual(['wish', 1, true, false]);
    core.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    expect(seen).toHaveLength(4);
    core.reset();
    expect(core.live).toBe(false);
    expect(errors).toEqual([]);
  });

  it('leaves out features that cannot be, and goes on', () => {
    const { core, errors } = attached();
    core.writeDriverFeatures(0, 2 ** UNUSED + 2 ** ANY_LAYOUT + 2 + 2 ** 20);
    core.writeDriverFeatures(1, 1);
    core.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    expect(core.driverFeatures.bits()).toEqual([ANY_LAYOUT]);
    expect(core.live).toBe(true);
    const refused = errors.filter(([code]) => code === 'FEATURES_REFUSED');
    expect(refused).toEqual([...Array(3)].map(() => ['FEATURES_REFUSED', false]));
  });

  it('needs a reset where the device cannot work with the features: there is no other way to say so', () => {
    const { core, errors } = attached({ negotiate: (_, legacy) => (legacy ? 'is too old' : undefined) });
    core.writeStatus(ACKNOWLEDGE);
    core.writeStatus(ACKNOWLEDGE | DRIVER);
    core.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    expect(core.status & DEVICE_NEEDS_RESET).not.toBe(0);
    expect(errors).toEqual([['FEATURES_REFUSED', true]]);
  });

  it.each(['little', 'big'] as const)('shows configuration bytes as a %s-endian guest has them', (endian) => {
    const written: unknown[] = [];
    const behaviour = {
      config: { count: 0x0102n, wish: 3 },
      writeConfig: (...a: unknown[]) => void written.push(a),
    };
    const { core, errors } = attached(behaviour, endian);
    const bytes = Array.from({ length: 13 }, (_, i) => core.readConfig(i, 1));
    const big = [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0];
    const little = [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    expect(bytes).toEqual(endian === 'big' ? big : little);
    core.writeConfig(endian === 'big' ? 11 : 8, 1, 7);
    expect(written).toEqual([['wish', 7]]);
    expect(core.device.config).toEqual({ count: 0x0102n, wish: 7 });
    core.writeConfig(0, 4, 7);
    expect(errors).toEqual([['REGISTER_ACCESS', false]]);
  });

  it('goes on from a saved state, used early or not', () => {
    for (const early of [true, false]) {
      const { core } = attached();
      core.writeDriverFeatures(0, 1);
      place(core);
      if (early) core.notify(0);
      else core.writeStatus(DRIVER_OK);
      const state = saveDevice(core);
      const other = attached({}, 'big', { transitional: true });
      restoreDevice(other.core, state);
      expect(other.core.live).toBe(true);
      expect(other.core.legacy).toBeDefined();
      other.core.resume();
      expect(other.interrupts).toEqual([0]);
      expect(saveDevice(other.core)).toEqual({ ...state, config: { ...state.config, generation: 1 } });
    }
  });
});

describe('a transitional device', () => {
  it('is modern until its legacy interface is used, and again after a reset', () => {
    const { core, errors } = attached({}, 'little', { transitional: true });
    expect(core.offered.has(reservedFeatures.VERSION_1)).toBe(true);
    expect(useLegacy(core)).toBe(true);
    expect(core.offered.has(reservedFeatures.VERSION_1)).toBe(false);
    core.writeStatus(0);
    expect(core.legacy).toBeUndefined();
    core.writeDriverFeatures(1, 1);
    core.writeStatus(ACKNOWLEDGE);
    core.writeStatus(ACKNOWLEDGE | DRIVER);
    core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    expect(useLegacy(core)).toBe(false);
    expect(core.legacy).toBeUndefined();
    expect(errors).toEqual([['REGISTER_ACCESS', false]]);
  });
});

describe.each(['little', 'big'] as const)('a %s-endian legacy device and its driver', (endian) => {
  it('agree on rings, messages and the configuration', async () => {
    const sums = device(type, {
      config: { count: 5n },
      serve: {
        requestq({ readable, writable }) {
          const { a, b } = readable.struct(message);
          writable.struct(message, { a: a + 1, b: b + 1 });
          readable.seek(0);
          writable.u16(readable.u16());
          writable.u64(2 ** 40);
        },
      },
    });
    const loopback = new Loopback(sums, { legacy: legacyInterface(endian) });
    const opened = await open(loopback, type, { features: ['BASE'] });
    expect(opened.config).toEqual({ count: 5n, wish: 0 });
    await opened.writeConfig('wish', 9);
    expect(sums.config.wish).toBe(9);
    const answer = await opened.queue('requestq').request(opened.encode(message, { a: 1, b: 2 }), 16);
    const view = opened.view(answer);
    expect(message.read(view)).toEqual({ a: 2, b: 3 });
    expect(view.getUint16(6, true)).toBe(1);
    expect(view.getBigUint64(8, true)).toBe(2n ** 40n);
    expect([...answer.subarray(0, 6)]).toEqual([...encodeFor(endian, message, { a: 2, b: 3 })]);
    expect(opened.features.word(1)).toBe(0);
    await opened.close();
  });

  it.each(fixturesOn({ legacy: true }))('use the $name in every way that matters', async (fixture) => {
    const errors: VirtioError[] = [];
    const loopback = new Loopback(fixture.make(['VERSION_1', 'INDIRECT_DESC', 'EVENT_IDX']), {
      legacy: legacyInterface(endian),
      onError: (error) => void errors.push(error),
    });
    const reserved = ['VERSION_1', 'INDIRECT_DESC', 'EVENT_IDX'] as const;
    await fixture.exercise(loopback, { reserved, indirectPolicy: 'auto' });
    expect(errors).toEqual([]);
  });
});
