import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../memory/guest-memory.ts';
import { deviceType } from '../spec/device-type.ts';
import { reservedFeatures } from '../spec/features.ts';
import { le32, struct } from '../spec/layout.ts';
import { status } from '../spec/status.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { inOrder } from '../virtqueue/taken-order.ts';
import { DeviceCore } from './core.ts';
import { type DeviceBehaviour, device } from './device.ts';
import type { DeviceHost } from './host.ts';
import { restoreDevice, saveDevice } from './saving.ts';
import type { TraceEvent } from './trace.ts';
import { tracing } from './tracing.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, SUSPEND, DEVICE_NEEDS_RESET } = status;

const type = deviceType({
  id: 4,
  name: 'sample',
  features: { BASE: 0, MORE: { bit: 1, requires: ['BASE'] }, HIGH: 127 },
  queues: { requestq: { from: 0 } },
  config: struct('sample_config', { level: le32, wish: le32 }),
  driverWritable: ['wish'],
});

function core(behaviour: DeviceBehaviour<typeof type> = { offers: ['BASE', 'MORE', 'HIGH'] }, host = {}) {
  const events: TraceEvent[] = [];
  const interrupts: (number | 'config')[] = [];
  const lent: DeviceHost = {
    memory: GuestMemory.ofSize(2 ** 16),
    packedRing,
    inOrder,
    interruptQueue: (index) => void interrupts.push(index),
    interruptConfig: () => void interrupts.push('config'),
    trace: tracing((event) => void events.push(event)),
    ...host,
  };
  const made = device(type, behaviour);
  return { core: new DeviceCore(made, lent), device: made, events, interrupts };
}

function negotiate(target: DeviceCore, names: Parameters<typeof type.featureSet>[0]): boolean {
  const features = type.featureSet(names);
  target.writeStatus(ACKNOWLEDGE);
  target.writeStatus(ACKNOWLEDGE | DRIVER);
  for (let word = 0; word < 4; word++) target.writeDriverFeatures(word, features.word(word));
  target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  return (target.status & FEATURES_OK) !== 0;
}

const ready = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

describe('negotiation', () => {
  // @holds 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
  it('accepts every sound subset of the offer', () => {
    for (const names of [
      ['VERSION_1'],
      ['VERSION_1', 'BASE'],
      ['VERSION_1', 'BASE', 'MORE', 'HIGH'],
    ] as const) {
      expect(negotiate(core().core, names)).toBe(true);
    }
  });

  it('does not keep FEATURES_OK for a feature that was not offered', () => {
    const { core: target, events } = core({ offers: ['BASE'] });
    expect(negotiate(target, ['VERSION_1', 'HIGH'])).toBe(false);
    expect(events).toContainEqual({ kind: 'features', accepted: ['VERSION_1', 'HIGH'], ok: false });
  });

  it('does not keep FEATURES_OK for a feature without what it requires', () => {
    expect(negotiate(core().core, ['VERSION_1', 'MORE'])).toBe(false);
  });

  it('offers packed rings where the transport has them', () => {
    expect(core().core.offered.has(reservedFeatures.RING_PACKED)).toBe(true);
    expect(core({}, { packedRing: undefined }).core.offered.has(reservedFeatures.RING_PACKED)).toBe(false);
  });

  // @holds 6.2 device: Reserved Feature Bits
  it('offers VERSION_1 always, SR_IOV never unless asked, and does not go on without VERSION_1', () => {
    const { core: target } = core({ offers: [], reserved: [] });
    expect(target.offered.has(reservedFeatures.VERSION_1)).toBe(true);
    expect(core().core.offered.has(reservedFeatures.SR_IOV)).toBe(false);
    expect(negotiate(target, [])).toBe(false);
  });

  it('offers nothing that the transport cannot carry', () => {
    const { core: target } = core(undefined, { carries: ['VERSION_1'], adds: ['VERSION_1'] });
    expect(type.featureNames(target.offered)).toEqual(['BASE', 'MORE', 'VERSION_1', 'HIGH']);
  });

  it('cannot be renegotiated without a reset', () => {
    const { core: target, events } = core();
    negotiate(target, ['VERSION_1', 'BASE']);
    target.writeDriverFeatures(0, 0);
    expect(target.driverFeatures.has(0)).toBe(true);
    expect(events.at(-1)).toMatchObject({ kind: 'violation', error: { code: 'STATUS_SEQUENCE' } });
    target.writeStatus(0);
    expect(negotiate(target, ['VERSION_1'])).toBe(true);
  });

  it('refuses to make a device that offers MORE without BASE', () => {
    expect(() => device(type, { offers: ['MORE'] })).toThrow(/MORE without BASE/);
  });
});

describe('status', () => {
  // @holds 2.4.1 device: Basic Facilities of a Virtio Device / Device Reset
  it('is 0 after a reset, and nothing is left of the driver', () => {
    let resets = 0;
    const { core: target } = core({ reset: () => void resets++ });
    negotiate(target, ['VERSION_1']);
    Object.assign(target.queues[0] ?? {}, { size: 8, descriptor: 4096 });
    target.writeStatus(ready);
    target.writeStatus(0);
    expect([target.status, target.driverFeatures.isEmpty(), resets]).toEqual([0, true, 1]);
    expect(target.queues[0]).toEqual({
      maxSize: 256,
      size: 256,
      descriptor: 0,
      driver: 0,
      device: 0,
      enabled: false,
    });
  });

  // @holds 2.1.2 device: Basic Facilities of a Virtio Device / Device Status Field
  it('says DEVICE_NEEDS_RESET when a queue cannot be, and notifies the driver', () => {
    const { core: target, interrupts } = core();
    negotiate(target, ['VERSION_1']);
    Object.assign(target.queues[0] ?? {}, { size: 300 });
    target.enableQueue(0);
    target.writeStatus(ready);
    expect(target.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
    expect(interrupts).toEqual(['config']);
  });

  it('names notifications that come before DRIVER_OK or for no queue', () => {
    const { core: target, events } = core();
    target.notify(0);
    negotiate(target, ['VERSION_1']);
    target.writeStatus(ready);
    target.notify(7);
    const codes = events.flatMap((event) => (event.kind === 'violation' ? [event.error.code] : []));
    expect(codes).toEqual(['NOTIFICATION_UNEXPECTED', 'NOTIFICATION_UNEXPECTED']);
  });
});

describe('configuration', () => {
  it('notifies a live driver of a change, and none before', () => {
    const { core: target, device: made, interrupts } = core();
    made.updateConfig({ level: 1 });
    expect(interrupts).toEqual([]);
    negotiate(target, ['VERSION_1']);
    target.writeStatus(ready);
    made.updateConfig({ level: 2 });
    expect(interrupts).toEqual(['config']);
    expect(target.readConfig(0, 4)).toBe(2);
  });

  it('tells the device what the driver wrote, and names what was not the driver’s to write', () => {
    const written: unknown[] = [];
    const { core: target, events } = core({
      writeConfig: (field, value) => void written.push([field, value]),
    });
    target.writeConfig(4, 4, 77);
    target.writeConfig(0, 4, 78);
    expect(written).toEqual([['wish', 77]]);
    expect(events.at(-1)).toMatchObject({ kind: 'violation', error: { code: 'REGISTER_ACCESS' } });
  });

  it('survives a device whose code throws: the device needs a reset, and the caller does not notice', () => {
    const errors: unknown[] = [];
    const behaviour: DeviceBehaviour<typeof type> = {
      writeConfig: () => {
        throw new Error('a bug');
      },
    };
    const { core: target } = core(behaviour, { onError: (error: unknown) => void errors.push(error) });
    target.writeConfig(4, 4, 1);
    expect(target.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
    expect(errors).toMatchObject([{ name: 'HostError', cause: { message: 'a bug' } }]);
  });
});

describe('suspend', () => {
  const suspended = (behaviour?: DeviceBehaviour<typeof type>) => {
    const made = core(behaviour);
    negotiate(made.core, ['VERSION_1', 'SUSPEND']);
    made.core.writeStatus(ready);
    made.core.writeStatus(ready | SUSPEND);
    return made;
  };

  // @holds 3.4.2 device: General Initialization And Device Operation / Device Suspend
  it('rests with SUSPEND and without DRIVER_OK, changing and notifying nothing until it is resumed', () => {
    const { core: target, device: made, interrupts, events } = suspended();
    expect(target.status).toBe((ready & ~DRIVER_OK) | SUSPEND);
    made.updateConfig({ level: 9 });
    target.writeConfig(4, 4, 5);
    target.notify(0);
    expect([target.readConfig(0, 4), target.readConfig(4, 4), interrupts]).toEqual([0, 0, []]);
    expect(events.some((event) => event.kind === 'violation')).toBe(false);
    target.writeStatus(ready | SUSPEND);
    expect(target.status).toBe(ready);
    expect([target.readConfig(0, 4), interrupts]).toEqual([9, ['config']]);
  });

  it('is left by a reset as well', () => {
    const { core: target, device: made } = suspended();
    made.updateConfig({ level: 9 });
    target.writeStatus(0);
    expect([target.status, target.readConfig(0, 4)]).toEqual([0, 9]);
  });
});

describe('saving and restoring', () => {
  it('goes on where it was, as JSON, and keeps a change that the driver has not been told of', () => {
    const first = core({ offers: ['BASE'], save: () => ({ mood: 'fine' }) });
    negotiate(first.core, ['VERSION_1', 'BASE']);
    first.core.writeStatus(ready);
    first.core.writeConfig(4, 4, 99);
    const state = JSON.parse(JSON.stringify(saveDevice(first.core)));
    const restored: unknown[] = [];
    const second = core({ offers: ['BASE'], restore: (value) => void restored.push(value) });
    restoreDevice(second.core, state);
    second.core.resume();
    expect(second.core.status).toBe(ready);
    expect(second.core.driverFeatures.bits()).toEqual(first.core.driverFeatures.bits());
    expect([second.core.readConfig(4, 4), restored]).toEqual([99, [{ mood: 'fine' }]]);
  });

  it('refuses the state of a device that offers less or other queues, and stays reset', () => {
    const first = core({ offers: ['BASE'] });
    negotiate(first.core, ['VERSION_1', 'BASE']);
    const state = saveDevice(first.core);
    const second = core({ offers: [] });
    expect(() => restoreDevice(second.core, state)).toThrow(/does not fit/);
    expect(second.core.status).toBe(0);
  });
});

describe('attaching', () => {
  it('gives a device to one transport at a time', () => {
    const { device: made, core: target } = core();
    const host: DeviceHost = {
      memory: GuestMemory.ofSize(4096),
      interruptQueue: () => {},
      interruptConfig: () => {},
    };
    expect(() => new DeviceCore(made, host)).toThrow(/attached already/);
    target.detach();
    expect(() => new DeviceCore(made, host)).not.toThrow();
  });
});
