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
import { endingOf } from '../ending.ts';
import { modernOnly } from '../skips.ts';

export { configurationsOf } from '../configurations.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, FAILED, DEVICE_NEEDS_RESET } = status;

/** 2.1: the device status field. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Status Field',
    statement: 'uses no buffer and notifies of none before DRIVER_OK, even when it is kicked',
    scope: 'matrix',
    skip: modernOnly('a legacy device may be used before DRIVER_OK'),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device, { pause: true });
      ring.offer(driver.elements());
      driver.kick(ring);
      await driver.quiet();
      check(ring.used() === undefined, 'no buffer is used before DRIVER_OK');
      same(driver.usedNotifications, 0, 'notifications before DRIVER_OK');
      await driver.go();
      driver.kick(ring);
      await driver.nextUsed(ring);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Status Field',
    statement: 'sets DEVICE_NEEDS_RESET in an error state and sends a configuration change notification',
    scope: 'matrix',
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      breakQueue(driver, ring);
      if (device.transport.statusIsWriteOnly !== true) {
        const needsReset = async (): Promise<boolean> =>
          ((await device.transport.readStatus()) & DEVICE_NEEDS_RESET) !== 0;
        await until(device.transport, needsReset, 'the device sets DEVICE_NEEDS_RESET');
      }
      await until(
        device.transport,
        async () => driver.configNotifications > 0,
        'the driver is notified of it',
      );
      await driver.finish();
      const { driver: again, ring: newRing } = await RawDriver.start(device);
      await again.roundTrip(newRing);
      await again.finish();
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Status Field',
    statement: 'sets the bits of the steps it has completed, and clears none but by a reset',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    async run(driver) {
      const recorder = new Recorder((await driver.connect()).transport);
      await driver.exercise(recorder);
      const written = recorder.of('writeStatus').map(({ value }) => value);
      const ready = [0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK, live];
      same(written.slice(0, 5), ready, 'the status writes of initialisation');
      for (const [i, value] of written.entries()) {
        const before = written[i - 1] ?? 0;
        check(value === 0 || (before & ~value) === 0, `no bit of ${before} is cleared by writing ${value}`);
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Status Field',
    statement: 'resets a device that it gave up on before it initialises it again',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    async run(driver) {
      const { transport } = await driver.connect();
      const refusing = new RefuseOnce(transport);
      same(
        await endingOf(driver.exercise(refusing), transport),
        'failed',
        'the driver stops when FEATURES_OK is refused',
      );
      check(((await transport.readStatus()) & FAILED) !== 0, 'FAILED is set');
      const recorder = new Recorder(transport);
      await driver.exercise(recorder);
      const [first] = recorder.of('writeStatus');
      same(first?.value, 0, 'the first status write of the second attempt');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Status Field',
    statement:
      'does not wait for operations of a device that set DEVICE_NEEDS_RESET, and recovers by a reset',
    scope: 'bus',
    async run(driver) {
      const connected = await driver.connect();
      same(
        await endingOf(driver.exercise(new SilentAndBroken(connected.transport)), connected.transport),
        'failed',
        'the driver gives up what the device will not complete',
      );
      await driver.exercise(connected.transport);
      same((await connected.transport.readStatus()) & DRIVER_OK, 0, 'DRIVER_OK after the driver let go');
    },
  },
];

/** A device that does not take FEATURES_OK. */
class RefuseOnce extends TransportProxy {
  override writeStatus(value: number): Promise<void> {
    return super.writeStatus(value & ~FEATURES_OK);
  }
}

/** Never hears a kick, and says at the first one that it needs a reset. */
class SilentAndBroken extends TransportProxy {
  #broken = false;
  #changed: () => void = () => {};

  override kick(): void {
    this.#broken = true;
    void Promise.resolve().then(() => this.#changed());
  }

  override async readStatus(): Promise<number> {
    const value = await super.readStatus();
    return this.#broken && value !== 0 ? value | DEVICE_NEEDS_RESET : value;
  }

  override listen(listener: Parameters<TransportProxy['listen']>[0]): void {
    this.#changed = () => listener?.configChange();
    super.listen(listener);
  }
}
