import { FeatureSet, reservedFeatures, status } from 'virtio/spec';
import {
  type ConformanceCase,
  check,
  type DeviceUnderTest,
  live,
  notApplicable,
  RawDriver,
  Recorder,
  same,
  TransportProxy,
  withVersion1,
} from 'virtio/testing';
import { endingOf } from '../ending.ts';
import { modernOnly } from '../skips.ts';

export { configurationsOf } from '../configurations.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, FAILED } = status;

/** Bits that no version of the specification describes, or that it keeps back. */
const unknownBits = [25, 31, 42, 45, 100, 127] as const;

/** 2.2: feature bits. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'offers no feature without those that it requires',
    scope: 'bus',
    async run({ transport, type }) {
      same(
        type.missingRequirements(await transport.readDeviceFeatures()),
        [],
        'requirements that are missing',
      );
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'offers no bit that is reserved, or that neither its type nor the specification describes',
    scope: 'bus',
    skip: modernOnly('the legacy interface has reserved bits of its own'),
    async run({ transport, type }) {
      const known = new Set<number>(Object.values(type.features));
      const unknown = (await transport.readDeviceFeatures()).bits().filter((bit) => !known.has(bit));
      same(unknown, [], 'bits without a meaning');
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'accepts valid subsets of its offer: each feature with what it requires, and all of them',
    scope: 'bus',
    async run(device) {
      const offered = await device.transport.readDeviceFeatures();
      for (const bit of offered.bits()) {
        const set = closed(device, withVersion1(bit));
        if (set.without(offered).isEmpty()) await RawDriver.negotiate(device, set);
      }
      await RawDriver.negotiate(device, offered);
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'does not keep FEATURES_OK when a feature was accepted that it did not offer',
    scope: 'bus',
    async run(device) {
      const offered = await device.transport.readDeviceFeatures();
      for (const bit of unknownBits.filter((one) => !offered.has(one))) {
        same(await accepts(device, withVersion1(bit)), false, `FEATURES_OK with bit ${bit}`);
      }
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'does not keep FEATURES_OK when a feature was accepted without one that it requires',
    scope: 'bus',
    async run(device) {
      const offered = await device.transport.readDeviceFeatures();
      const dependent = offered.bits().filter((bit) => {
        // Front ends of vhost-user may keep some to themselves.
        const kept: readonly string[] =
          device.configuration.bus === 'vhost-user' ? device.type.keptByFrontEnds : [];
        return device.type.missingRequirements(withVersion1(bit), kept).length > 0;
      });
      if (dependent.length === 0) notApplicable('the device offers no feature that requires another');
      for (const bit of dependent) {
        same(await accepts(device, withVersion1(bit)), false, `FEATURES_OK with bit ${bit} alone`);
      }
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'accepts the same features again after a reset',
    scope: 'matrix',
    async run(device) {
      for (let time = 0; time < 3; time++) {
        const { driver, ring } = await RawDriver.start(device);
        await driver.roundTrip(ring);
        await driver.finish();
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'ignores bits that it does not know, accepts none of them, and works all the same',
    scope: 'bus',
    async run(driver) {
      const { transport } = await driver.connect();
      const recorder = new Recorder(new OffersMore(transport, unknownBits));
      await driver.exercise(recorder);
      const accepted = recorder.of('writeDriverFeatures').at(-1)?.features;
      const unknown = unknownBits.filter((bit) => accepted?.has(bit));
      same(unknown, [], 'unknown bits that the driver accepted');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'does not accept what its transport cannot carry',
    scope: 'bus',
    async run(driver) {
      const { transport } = await driver.connect();
      const foreign = (['SR_IOV', 'ADMIN_VQ'] as const).filter((name) => !transport.carries.includes(name));
      if (foreign.length === 0) notApplicable('this transport carries every feature');
      const bits = foreign.map((name) => reservedFeatures[name]);
      const recorder = new Recorder(new OffersMore(transport, bits));
      await driver.exercise(recorder);
      const accepted = recorder.of('writeDriverFeatures').at(-1)?.features;
      check(!bits.some((bit) => accepted?.has(bit)), 'features foreign to the transport are left alone');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'accepts nothing that is not offered, and nothing without what it requires',
    scope: 'bus',
    async run(driver) {
      const { type } = driver.fixture;
      const all = await (await driver.connect()).transport.readDeviceFeatures();
      for (const missing of all.bits().filter((bit) => bit !== reservedFeatures.VERSION_1)) {
        const { transport } = await driver.connect();
        const rest = closedOffer(type, all.without(FeatureSet.of([missing])));
        const recorder = new Recorder(new Offers(transport, rest));
        // A driver may well be unable to do its work with less: what counts here is what it accepts.
        await endingOf(driver.exercise(recorder), transport);
        for (const { features } of recorder.of('writeDriverFeatures')) {
          check(
            features.without(rest).isEmpty(),
            `nothing is accepted that is not offered (without ${missing})`,
          );
          same(type.missingRequirements(features), [], `requirements missing (without bit ${missing})`);
        }
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'sets FAILED and stops when a device does not offer what it needs',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no VERSION_1'),
    async run(driver) {
      const { transport } = await driver.connect();
      const recorder = new Recorder(new Offers(transport, FeatureSet.empty));
      same(await endingOf(driver.exercise(recorder), transport), 'failed', 'the driver stops');
      check(((await transport.readStatus()) & FAILED) !== 0, 'FAILED is set');
      same(recorder.of('writeStatus').filter(({ value }) => (value & live) === live).length, 0, 'DRIVER_OK');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
    statement: 'checks the offer: one that lacks what its own features require is refused',
    scope: 'bus',
    async run(driver) {
      const { type } = driver.fixture;
      const { transport } = await driver.connect();
      const offered = await transport.readDeviceFeatures();
      const broken = offered.bits().flatMap((bit) => {
        const rest = offered.without(FeatureSet.of([bit]));
        return bit !== reservedFeatures.VERSION_1 && type.missingRequirements(rest).length > 0 ? [rest] : [];
      });
      if (broken.length === 0) notApplicable('the device offers no feature that requires another');
      for (const rest of broken) {
        const one = await driver.connect();
        const recorder = new Recorder(new Offers(one.transport, rest));
        await endingOf(driver.exercise(recorder), transport);
        for (const { features } of recorder.of('writeDriverFeatures')) {
          same(type.missingRequirements(features), [], 'requirements missing in what is accepted');
        }
      }
    },
  },
];

/** True when the device keeps FEATURES_OK for the set. */
async function accepts({ transport }: DeviceUnderTest, features: FeatureSet): Promise<boolean> {
  await transport.writeStatus(0);
  await transport.writeStatus(ACKNOWLEDGE);
  await transport.writeStatus(ACKNOWLEDGE | DRIVER);
  await transport.writeDriverFeatures(features);
  await transport.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  return ((await transport.readStatus()) & FEATURES_OK) !== 0;
}

/** The set with all that its members require. */
function closed({ type }: DeviceUnderTest, set: FeatureSet): FeatureSet {
  let all = set;
  for (let lacks = type.missingRequirements(all); lacks.length > 0; lacks = type.missingRequirements(all)) {
    // The first of those that would do.
    all = all.union(type.featureSet(lacks.map(({ anyOf: [one = ''] }) => one)));
  }
  return all;
}

/** An offer without the features whose requirements it lacks. */
function closedOffer(type: DeviceUnderTest['type'], set: FeatureSet): FeatureSet {
  let rest = set;
  for (let lacks = type.missingRequirements(rest); lacks.length > 0; lacks = type.missingRequirements(rest)) {
    rest = rest.without(type.featureSet(lacks.map(({ feature }) => feature)));
  }
  return rest;
}

/** A device that says it offers exactly these. */
class Offers extends TransportProxy {
  readonly #features: FeatureSet;

  constructor(inner: DeviceUnderTest['transport'], features: FeatureSet) {
    super(inner);
    this.#features = features;
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    return this.#features;
  }
}

/** A device that says it offers these bits as well. */
class OffersMore extends TransportProxy {
  readonly #bits: readonly number[];

  constructor(inner: DeviceUnderTest['transport'], bits: readonly number[]) {
    super(inner);
    this.#bits = bits;
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    return (await super.readDeviceFeatures()).union(FeatureSet.of(this.#bits));
  }
}
