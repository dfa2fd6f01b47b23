import { reservedFeatures } from 'virtio/spec';
import { type ConformanceCase, type DeviceUnderTest, notApplicable, RawDriver, same } from 'virtio/testing';

export { configurationsOf } from '../configurations.ts';

/** 2.6.1: one virtqueue is reset and enabled again. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset',
    statement: 'executes nothing from a queue that was reset, and notifies of nothing',
    scope: 'matrix',
    async run(device) {
      await needsRingReset(device);
      const { driver, ring } = await RawDriver.start(device);
      await driver.roundTrip(ring);
      await device.transport.resetQueue(driver.queue);
      const notified = driver.usedNotifications;
      ring.offer(driver.elements());
      const before = [...ring.descriptors()];
      driver.kick(ring);
      await driver.quiet();
      same(ring.used(), undefined, 'what was used after the reset of the queue');
      same([...ring.descriptors()], before, 'the descriptors after the reset of the queue');
      same(driver.usedNotifications, notified, 'notifications after the reset of the queue');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset',
    statement: 'brings a queue back to its first state: its largest size, and both rings from the beginning',
    scope: 'matrix',
    async run(device) {
      await needsRingReset(device);
      const { transport } = device;
      const { driver, ring } = await RawDriver.start(device);
      const most = await transport.queueMaxSize(driver.queue);
      for (let i = 0; i < 3; i++) await driver.roundTrip(ring);
      await transport.resetQueue(driver.queue);
      same(await transport.queueMaxSize(driver.queue), most, 'the largest size after the reset of the queue');
      // A fresh ring counts from 0: a device that kept its position would find nothing, or a jump.
      const fresh = await driver.enable(ring.size);
      await driver.roundTrip(fresh);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable',
    statement: 'uses the size and the addresses that a queue is enabled again with',
    scope: 'matrix',
    async run(device) {
      await needsRingReset(device);
      const { driver, ring } = await RawDriver.start(device, { size: 16 });
      await driver.roundTrip(ring);
      for (const size of [4, 8, 2, 16]) {
        await device.transport.resetQueue(driver.queue);
        const other = await driver.enable(size);
        // Twice round, so that a device that kept another size writes to the wrong place.
        for (let i = 0; i < 2 * size + 1; i++) {
          const table = driver.allocate(16 * 8);
          const elements = driver.elements();
          if (elements.length <= size) other.offer(elements);
          else if (device.configuration.indirect) other.offerIndirect(table, elements);
          else continue;
          await driver.kickAndWait(other);
        }
      }
      await driver.finish();
    },
  },
];

async function needsRingReset({ transport }: DeviceUnderTest): Promise<void> {
  const offered = await transport.readDeviceFeatures();
  if (!offered.has(reservedFeatures.RING_RESET)) notApplicable('the device does not offer RING_RESET');
}
