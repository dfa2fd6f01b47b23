import { reservedFeatures, status } from 'virtio/spec';
import {
  type ConformanceCase,
  check,
  type DeviceUnderTest,
  live,
  notApplicable,
  RawDriver,
  same,
  until,
} from 'virtio/testing';

export { configurationsOf } from '../configurations.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, SUSPEND } = status;
const resting = (live & ~DRIVER_OK) | SUSPEND;

/** 3.4: a device is suspended and resumed. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: General Initialization And Device Operation / Device Suspend',
    statement: 'ignores SUSPEND until it is initialised completely',
    scope: 'bus',
    async run(device) {
      await needsSuspend(device);
      const { transport } = device;
      const { driver, ring } = await RawDriver.start(device, { pause: true });
      await transport.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | SUSPEND);
      same(await transport.readStatus(), ACKNOWLEDGE | DRIVER | FEATURES_OK, 'the status');
      await driver.go();
      await driver.roundTrip(ring);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: General Initialization And Device Operation / Device Suspend',
    statement:
      'suspends when it is told to, after it has used what it took and sent the notifications for it',
    scope: 'matrix',
    async run(device) {
      await needsSuspend(device);
      const { driver, ring } = await RawDriver.start(device);
      const offered = ring.offer(driver.elements());
      driver.kick(ring);
      await suspend(device);
      const used = ring.used();
      // What was not begun stays; what was begun has come back, and the driver was told.
      if (used !== undefined) {
        same(used.id, offered, 'the buffer that was used');
        await driver.quiet();
        check(driver.usedNotifications > 0, 'the notification for it was sent');
      }
      await resume(device);
      if (used === undefined) await driver.nextUsed(ring);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: General Initialization And Device Operation / Device Suspend',
    statement: 'touches no queue and notifies of none while it is suspended, and goes on when it is resumed',
    scope: 'matrix',
    async run(device) {
      await needsSuspend(device);
      const { driver, ring } = await RawDriver.start(device);
      await driver.roundTrip(ring);
      await driver.quiet();
      await suspend(device);
      const notified = driver.usedNotifications;
      ring.offer(driver.elements());
      const before = [...ring.descriptors()];
      driver.kick(ring);
      await driver.quiet();
      same(ring.used(), undefined, 'what was used while suspended');
      same([...ring.descriptors()], before, 'the descriptors while suspended');
      same(driver.usedNotifications, notified, 'notifications while suspended');
      await resume(device);
      await driver.nextUsed(ring);
      await driver.roundTrip(ring);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: General Initialization And Device Operation / Device Suspend',
    statement: 'changes nothing of its configuration while it is suspended, whatever the driver writes',
    scope: 'bus',
    async run(device) {
      await needsSuspend(device);
      const { transport, type } = device;
      const fields = Object.values(type.config.field);
      if (fields.length === 0) notApplicable('the device type has no configuration');
      const { driver } = await RawDriver.start(device);
      const all = async (): Promise<number[][]> =>
        Promise.all(fields.map(async ({ offset, size }) => [...(await transport.readConfig(offset, size))]));
      await suspend(device);
      const before = await all();
      for (const { offset, size } of fields) {
        await transport.writeConfig(offset, new Uint8Array(size).fill(0xa5));
      }
      same(await all(), before, 'the configuration while suspended');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: General Initialization And Device Operation / Device Suspend',
    statement: 'can be reset while it is suspended',
    scope: 'matrix',
    async run(device) {
      await needsSuspend(device);
      const { driver } = await RawDriver.start(device);
      await suspend(device);
      await driver.finish();
      const again = await RawDriver.start(device);
      await again.driver.roundTrip(again.ring);
      await again.driver.finish();
    },
  },
];

async function needsSuspend({ transport }: DeviceUnderTest): Promise<void> {
  const offered = await transport.readDeviceFeatures();
  if (!offered.has(reservedFeatures.SUSPEND)) notApplicable('the device does not offer SUSPEND');
}

async function suspend({ transport }: DeviceUnderTest): Promise<void> {
  await transport.writeStatus(live | SUSPEND);
  await until(transport, async () => (await transport.readStatus()) === resting, 'the device suspends');
}

async function resume({ transport }: DeviceUnderTest): Promise<void> {
  await transport.writeStatus(resting | DRIVER_OK);
  await until(transport, async () => (await transport.readStatus()) === live, 'the device resumes');
}
