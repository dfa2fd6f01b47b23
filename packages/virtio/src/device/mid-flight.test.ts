import { describe, expect, it } from 'vitest';
import { open } from '../driver/open.ts';
import type { VirtioError } from '../errors.ts';
import { deviceType } from '../spec/device-type.ts';
import { le32, struct } from '../spec/layout.ts';
import { status } from '../spec/status.ts';
import { Loopback } from '../transports/loopback/loopback.ts';
import { type DeviceBehaviour, device } from './device.ts';
import { restoreDevice, saveDevice } from './saving.ts';

const { DRIVER_OK, FEATURES_OK, SUSPEND, DEVICE_NEEDS_RESET } = status;

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: 0, eventq: 1 },
  config: struct('sample_config', { wish: le32 }),
  driverWritable: ['wish'],
});

function attached(behaviour: DeviceBehaviour<typeof type>) {
  const errors: [VirtioError, boolean][] = [];
  const made = device(type, behaviour);
  const loopback = new Loopback(made, { onError: (error, fatal) => void errors.push([error, fatal]) });
  return { made, loopback, core: loopback.core, errors };
}

/** A device whose requests end when the test says so. */
function slow() {
  const ends: (() => void)[] = [];
  const serve = { requestq: () => new Promise<void>((resolve) => ends.push(resolve)) };
  return { ends, serve };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a suspend that waits for a request', () => {
  it('is done when the queue of that request is reset', async () => {
    const { ends, serve } = slow();
    const { loopback, core } = attached({ serve });
    const opened = await open(loopback, type, { features: [] });
    opened.queue('requestq').submit([], [{ address: 4096, length: 8 }], () => {});
    core.writeStatus(core.status | SUSPEND);
    expect(core.status & (SUSPEND | DRIVER_OK)).toBe(DRIVER_OK);
    core.resetQueue(0);
    expect(core.status & (SUSPEND | DRIVER_OK)).toBe(SUSPEND);
    for (const end of ends) end();
    await settle();
    expect(core.status & DEVICE_NEEDS_RESET).toBe(0);
  });

  it('is done by a device that was saved and restored meanwhile', async () => {
    const first = attached(slow());
    const opened = await open(first.loopback, type, { features: [] });
    opened.queue('requestq').submit([], [{ address: 4096, length: 8 }], () => {});
    first.core.writeStatus(first.core.status | SUSPEND);
    const state = JSON.parse(JSON.stringify(saveDevice(first.core)));

    const { ends, serve } = slow();
    const made = device(type, { serve });
    const { core } = new Loopback(made, { memory: first.loopback.memory });
    restoreDevice(core, state);
    core.resume();
    expect(ends).toHaveLength(1);
    expect(core.status & (SUSPEND | DRIVER_OK)).toBe(DRIVER_OK);
    ends[0]?.();
    await settle();
    expect(core.status & (SUSPEND | DRIVER_OK)).toBe(SUSPEND);
  });

  it('is forgotten at a reset, however the request ends', async () => {
    const { ends, serve } = slow();
    const { loopback, core } = attached({ serve });
    const opened = await open(loopback, type, { features: [] });
    opened.queue('requestq').submit([], [{ address: 4096, length: 8 }], () => {});
    core.writeStatus(core.status | SUSPEND);
    core.reset();
    const again = await open(loopback, type, { features: [] });
    for (const end of ends) end();
    await settle();
    expect(core.status & (SUSPEND | DRIVER_OK)).toBe(DRIVER_OK);
    await again.close();
  });
});

// @holds 2.6.1.1.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
it('a request of before a queue reset completes nothing of after it', async () => {
  const { ends, serve } = slow();
  const { loopback, core } = attached({ serve });
  const opened = await open(loopback, type, { features: [] });
  const done: string[] = [];
  const submit = (name: string): void =>
    opened.queue('requestq').submit([], [{ address: 4096, length: 8 }], (_written, failure) => {
      done.push(failure === undefined ? name : `${name} is lost`);
    });
  submit('first');
  await opened.resetQueue('requestq');
  await opened.enableQueue('requestq');
  submit('second');
  ends[0]?.();
  await settle();
  expect(done).toEqual(['first is lost']);
  ends[1]?.();
  await settle();
  expect(done).toEqual(['first is lost', 'second']);
  expect(core.status & DEVICE_NEEDS_RESET).toBe(0);
});

describe('a device whose code fails', () => {
  const bug = (): never => {
    throw new Error('a bug');
  };
  const reported = { name: 'HostError', cause: { message: 'a bug' } };

  it('at a reset is reset all the same', async () => {
    const { loopback, core, errors } = attached({ reset: bug });
    await open(loopback, type, { features: [] });
    expect(core.status).not.toBe(0);
    errors.length = 0;
    core.writeStatus(0);
    expect(core.status).toBe(0);
    expect(errors).toMatchObject([[reported, false]]);
  });

  it('while it negotiates does not accept the features', async () => {
    const { loopback, core, errors } = attached({ negotiate: bug });
    await expect(open(loopback, type, { features: [] })).rejects.toMatchObject({
      code: 'FEATURES_NOT_ACCEPTED',
    });
    expect(core.status & FEATURES_OK).toBe(0);
    expect(errors[0]).toMatchObject([reported, true]);
  });

  it('some time after a write of its configuration needs a reset, unless it was reset meanwhile', async () => {
    const fails: ((error: Error) => void)[] = [];
    const writeConfig = () => new Promise<void>((_resolve, reject) => fails.push(reject));
    const { loopback, core, errors } = attached({ writeConfig });
    await open(loopback, type, { features: [] });
    core.writeConfig(0, 4, 1);
    core.reset();
    await open(loopback, type, { features: [] });
    core.writeConfig(0, 4, 2);
    fails[0]?.(new Error('a bug'));
    await settle();
    expect(core.status & DEVICE_NEEDS_RESET).toBe(0);
    fails[1]?.(new Error('a bug'));
    await settle();
    expect(core.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET);
    expect(errors).toMatchObject([
      [reported, false],
      [reported, true],
    ]);
  });
});

it('a transport that lets go of its device twice leaves its next owner alone', async () => {
  const resets: string[] = [];
  const { made, loopback } = attached({ reset: () => void resets.push('reset') });
  await loopback.close();
  const next = new Loopback(made);
  const opened = await open(next, type, { features: [] });
  resets.length = 0;
  await loopback.close();
  for (const value of [0, 1, 3, 11, 15]) loopback.core.writeStatus(value);
  loopback.core.writeConfig(0, 4, 99);
  expect(resets).toEqual([]);
  made.updateConfig({ wish: 7 });
  const told = await opened.refreshConfig();
  expect(told.wish).toBe(7);
  expect(saveDevice(next.core).pendingConfig).toBe(false);
  expect(() => new Loopback(made)).toThrow(/attached already/);
});
