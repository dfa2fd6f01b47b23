import { status } from 'virtio/spec';
import {
  type ConformanceCase,
  check,
  type DriverAct,
  DriverWatch,
  live,
  RawDriver,
  same,
  TransportProxy,
} from 'virtio/testing';
import { endingOf } from '../ending.ts';
import { modernOnly } from '../skips.ts';
import { watched } from '../watched.ts';

export { configurationsOf } from '../configurations.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, FAILED } = status;

/** 3.1 and 3.3: from reset to a live device, and back. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Initialization',
    statement:
      'follows the sequence: reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, read back, queues, DRIVER_OK',
    scope: 'matrix',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    async run(driver) {
      const { acts } = (await watched(driver)).recorder;
      const steps: readonly [string, (act: DriverAct) => boolean][] = [
        ['a reset', wrote(0)],
        ['the reset seen complete', (act) => act.act === 'readStatus' && act.value === 0],
        ['ACKNOWLEDGE', wrote(ACKNOWLEDGE)],
        ['DRIVER', wrote(ACKNOWLEDGE | DRIVER)],
        ['the offer read', (act) => act.act === 'readDeviceFeatures'],
        ['features written', (act) => act.act === 'writeDriverFeatures'],
        ['FEATURES_OK', wrote(ACKNOWLEDGE | DRIVER | FEATURES_OK)],
        ['FEATURES_OK read back', (act) => act.act === 'readStatus' && (act.value & FEATURES_OK) !== 0],
        ['a queue discovered', (act) => act.act === 'queueMaxSize'],
        ['a queue enabled', (act) => act.act === 'enableQueue'],
        ['DRIVER_OK', wrote(live)],
      ];
      let at = -1;
      for (const [name, is] of steps) {
        at = acts.findIndex((act, index) => index > at && is(act));
        check(at !== -1, `${name} comes in its turn`);
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Initialization',
    statement: 'sends no buffer notification before DRIVER_OK',
    scope: 'matrix',
    async run(driver) {
      const { acts } = (await watched(driver)).recorder;
      const kick = acts.findIndex(({ act }) => act === 'kick');
      check(kick === -1 || kick > acts.findIndex(wrote(live)), 'the first kick comes after DRIVER_OK');
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Initialization',
    statement: 'writes no configuration before FEATURES_OK, and no features after it',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    async run(driver) {
      const { acts } = (await watched(driver)).recorder;
      const featuresOk = acts.findIndex(wrote(ACKNOWLEDGE | DRIVER | FEATURES_OK));
      const early = acts.slice(0, featuresOk).some(({ act }) => act === 'writeConfig');
      check(!early, 'the configuration is not written before FEATURES_OK');
      const late = acts.slice(featuresOk).some(({ act }) => act === 'writeDriverFeatures');
      check(!late, 'features are not written after FEATURES_OK');
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Initialization',
    statement: 'reads FEATURES_OK back, and when it is gone sets FAILED and goes no further (D3)',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    async run(driver) {
      const { transport } = await driver.connect();
      const watch = new DriverWatch(new Refuses(transport));
      same(await endingOf(driver.exercise(watch.transport), transport), 'failed', 'the driver stops');
      const { recorder } = watch;
      same(recorder.of('enableQueue').length + recorder.of('kick').length, 0, 'queues enabled and kicked');
      check((await transport.readStatus()) === (ACKNOWLEDGE | DRIVER | FAILED), 'FAILED is set');
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Initialization',
    statement: 'starts with a device that firmware left running (D4)',
    scope: 'bus',
    async run(driver) {
      const connected = await driver.connect();
      const { fixture, configuration } = driver;
      const { type, probe } = fixture;
      const { transport } = connected;
      const { driver: firmware, ring } = await RawDriver.start({ transport, type, probe, configuration });
      ring.offer(firmware.elements());
      firmware.kick(ring);
      await driver.exercise(transport);
      const blamed = connected.errors.map(({ message }) => message);
      same(blamed, [], 'what the device has to say of the driver');
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Cleanup',
    statement: 'leaves the descriptors of a buffer alone while the device has it',
    scope: 'matrix',
    async run(driver) {
      const watch = await watched(driver);
      check(watch.buffers > 0, 'the driver offers buffers');
      const clause = 'driver: General Initialization And Device Operation / Device Cleanup';
      same(
        watch.findings.filter((finding) => finding.clause === clause).map(({ message }) => message),
        [],
        'exposed buffers that were altered',
      );
    },
  },
  {
    side: 'driver',
    clause: 'driver: General Initialization And Device Operation / Device Cleanup',
    statement: 'resets the device before it lets go of buffers that the device has',
    scope: 'bus',
    async run(driver) {
      const { acts } = (await watched(driver)).recorder;
      const close = acts.findIndex(({ act }) => act === 'close');
      const reset = acts.findLastIndex(wrote(0));
      const kick = acts.findLastIndex(({ act }) => act === 'kick');
      check(
        close !== -1 && kick < reset && reset < close,
        'the last kick, a reset, and the end follow each other',
      );
    },
  },
];

const wrote =
  (value: number) =>
  (act: DriverAct): boolean =>
    act.act === 'writeStatus' && act.value === value;

/** A device that does not take FEATURES_OK. */
class Refuses extends TransportProxy {
  override writeStatus(value: number): Promise<void> {
    return super.writeStatus(value & ~FEATURES_OK);
  }
}
