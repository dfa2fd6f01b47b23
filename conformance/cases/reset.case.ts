import { status } from 'virtio/spec';
import {
  type ConformanceCase,
  check,
  live,
  RawDriver,
  Recorder,
  same,
  TransportProxy,
  until,
} from 'virtio/testing';
import { breakQueue } from '../break-queue.ts';

export { configurationsOf } from '../configurations.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, FAILED, SUSPEND } = status;

/** 2.4: device reset. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Reset',
    statement: 'shows 0 as its status after a reset, from wherever it was',
    scope: 'bus',
    async run({ transport }) {
      const steps = [
        [],
        [ACKNOWLEDGE],
        [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER],
        [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK],
        [ACKNOWLEDGE | DRIVER, live, live | SUSPEND],
        [ACKNOWLEDGE | DRIVER | FAILED],
        [0xff],
      ];
      for (const values of steps) {
        for (const value of values) await transport.writeStatus(value);
        await transport.writeStatus(0);
        await until(transport, async () => (await transport.readStatus()) === 0, 'the status reads as 0');
      }
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Reset',
    statement: 'shows 0 as its status after a reset with a buffer in flight, or with a broken queue',
    scope: 'matrix',
    async run(device) {
      const { transport } = device;
      const first = await RawDriver.start(device);
      first.ring.offer(first.driver.elements());
      first.driver.kick(first.ring);
      await first.driver.finish();
      const second = await RawDriver.start(device);
      breakQueue(second.driver, second.ring);
      await second.driver.finish();
      same(await transport.readStatus(), 0, 'the status after the second reset');
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Reset',
    statement: 'after a reset touches no ring and sends no notification until it is initialised again',
    scope: 'matrix',
    async run(device) {
      const { transport } = device;
      const { driver, ring } = await RawDriver.start(device);
      ring.offer(driver.elements());
      driver.kick(ring);
      await transport.writeStatus(0);
      await until(transport, async () => (await transport.readStatus()) === 0, 'the device resets');
      const before = [...ring.descriptors(), ...transport.memory.read(ring.areas.device, 4)];
      const notified = driver.usedNotifications;
      ring.offer(driver.elements());
      const offered = [...ring.descriptors()];
      driver.kick(ring);
      await driver.quiet();
      same([...ring.descriptors()], offered, 'the descriptors after the reset');
      same(
        [...transport.memory.read(ring.areas.device, 4)],
        before.slice(-4),
        'the device area after the reset',
      );
      same(driver.usedNotifications, notified, 'notifications after the reset');
      const again = await RawDriver.start(device);
      await again.driver.roundTrip(again.ring);
      await again.driver.finish();
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Reset',
    statement: 'waits until the status reads as 0 before it goes on, however long that takes (D4)',
    scope: 'bus',
    async run(driver) {
      const { transport } = await driver.connect();
      const slow = new SlowReset(transport);
      const recorder = new Recorder(slow);
      await driver.exercise(recorder);
      check(slow.refused > 0, 'the driver looked before the reset was complete');
      const { acts } = recorder;
      const reset = acts.findIndex((act) => act.act === 'writeStatus' && act.value === 0);
      const complete = acts.findIndex((act) => act.act === 'readStatus' && act.value === 0);
      const next = acts.findIndex((act, i) => i > reset && act.act === 'writeStatus');
      check(reset < complete && complete < next, 'nothing is written between the reset and its completion');
    },
  },
];

/** A device that takes its time to reset: the status stays as it was for some reads. */
class SlowReset extends TransportProxy {
  refused = 0;
  #left = 0;

  override writeStatus(value: number): Promise<void> {
    if (value === 0) this.#left = 30;
    return super.writeStatus(value);
  }

  override async readStatus(): Promise<number> {
    const value = await super.readStatus();
    if (this.#left === 0) return value;
    this.#left--;
    this.refused++;
    return ACKNOWLEDGE;
  }
}
