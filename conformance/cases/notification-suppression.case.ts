import { type ConformanceCase, check, RawDriver, RawSplitRing, same, TransportProxy } from 'virtio/testing';
import { first, splitOnly, withEventIdx, withoutEventIdx } from '../skips.ts';
import { finds } from './split-ring.case.ts';

export { configurationsOf } from '../configurations.ts';

/** 2.7.7 and 2.7.10: who wants to hear of which buffer. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
    statement: 'sends a notification when the driver wants one, and none when it wants none',
    scope: 'matrix',
    skip: first(splitOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      for (const wish of ['always', 'never', 'always', 'never'] as const) {
        ring.wish(wish);
        const before = driver.usedNotifications;
        await driver.roundTrip(ring);
        await driver.quiet();
        same(driver.usedNotifications > before, wish === 'always', `a notification when the wish is ${wish}`);
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
    statement: 'ignores used_event without EVENT_IDX',
    scope: 'matrix',
    skip: first(splitOnly, withoutEventIdx),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      check(ring instanceof RawSplitRing, 'a split ring');
      for (const event of [0x8000, 5]) {
        // Where `used_event` would stand.
        ring.bytes.set16(ring.areas.driver + 4 + 2 * ring.size, event);
        const before = driver.usedNotifications;
        await driver.roundTrip(ring);
        await driver.quiet();
        check(driver.usedNotifications > before, 'a notification is sent');
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
    statement: 'ignores the flags of the available ring with EVENT_IDX, and notifies at used_event',
    scope: 'matrix',
    skip: first(splitOnly, withEventIdx),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      check(ring instanceof RawSplitRing, 'a split ring');
      ring.bytes.set16(ring.areas.driver, 1);
      const before = driver.usedNotifications;
      await driver.roundTrip(ring);
      await driver.quiet();
      check(driver.usedNotifications > before, 'a notification is sent at used_event');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression',
    statement: 'leaves the flags of the used ring at 0 or 1, and at 0 with EVENT_IDX',
    scope: 'matrix',
    skip: first(splitOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      check(ring instanceof RawSplitRing, 'a split ring');
      for (let i = 0; i < 5; i++) {
        await driver.roundTrip(ring);
        await driver.quiet();
        const most = device.configuration.eventIdx ? 0 : 1;
        check(ring.usedFlags <= most, `the flags of the used ring are ${ring.usedFlags}`);
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression',
    statement: 'takes notifications for nothing without harm',
    scope: 'matrix',
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      for (let i = 0; i < 5; i++) {
        driver.kick(ring);
        driver.kick(ring);
        await driver.roundTrip(ring);
        driver.kick(ring);
        await driver.quiet();
        same(ring.used(), undefined, 'what was used without a buffer');
      }
      await driver.finish();
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
    statement: 'leaves the flags of the available ring at 0 or 1, and at 0 with EVENT_IDX',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
      ),
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression',
    statement: 'takes notifications for nothing without harm',
    scope: 'bus',
    async run(driver) {
      const { transport } = await driver.connect();
      const spurious = new Spurious(transport);
      await driver.exercise(spurious);
      check(spurious.sent > 0, 'the driver was notified for nothing');
    },
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression',
    statement: 'hands over a used ring whose flags are 0',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression',
      ),
  },
];

/** Notifies of every queue, of no queue in particular and of the configuration whenever it is kicked. */
class Spurious extends TransportProxy {
  sent = 0;
  #listener: Parameters<TransportProxy['listen']>[0];

  override listen(listener: Parameters<TransportProxy['listen']>[0]): void {
    this.#listener = listener;
    super.listen(listener);
  }

  override kick(index: number, data: number | undefined): void {
    super.kick(index, data);
    void Promise.resolve().then(() => {
      this.sent++;
      for (const queue of [index, undefined, index + 1, 999]) this.#listener?.usedBuffer(queue);
      this.#listener?.configChange();
    });
  }
}
