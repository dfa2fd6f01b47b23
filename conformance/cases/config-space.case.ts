import { type DeviceType, type FeatureSet, hasField, status } from 'virtio/spec';
import {
  type ConformanceCase,
  check,
  type DriverUnderTest,
  notApplicable,
  RawDriver,
  Recorder,
  same,
  TransportProxy,
} from 'virtio/testing';
import { endingOf } from '../ending.ts';
import { modernOnly } from '../skips.ts';
import { watched } from '../watched.ts';

export { configurationsOf } from '../configurations.ts';

/** 2.5: device configuration space. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Device Configuration Space',
    statement: 'lets every field be read before FEATURES_OK, those of offered features among them',
    scope: 'bus',
    async run(device) {
      const { transport, type } = device;
      await transport.writeStatus(0);
      const offered = await transport.readDeviceFeatures();
      const before = await readFields(device, offered);
      if (before.length === 0) notApplicable('the device type has no configuration');
      await RawDriver.negotiate(device, offered);
      same(await readFields(device, offered), before, `the configuration of ${type.name} before and after`);
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Configuration Space',
    statement:
      'reads fields again when the generation moved meanwhile, and uses nothing of the torn read (D6)',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no generation'),
    async run(driver) {
      needsConfig(driver);
      const { transport } = await driver.connect();
      const torn = new Torn(transport);
      await driver.exercise(torn);
      check(torn.spoilt > 0, 'the first read was torn');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Configuration Space',
    statement: 'reads several fields, or one wider than 32 bits, between two looks at the generation',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no generation'),
    async run(driver) {
      needsConfig(driver);
      // What a program writes meanwhile, and its end, come at a time of their own.
      const acts = (await watched(driver)).recorder.acts.filter(
        (one) =>
          one.act === 'readConfig' ||
          one.act === 'configGeneration' ||
          (one.act === 'writeStatus' && (one.value & status.DRIVER_OK) !== 0),
      );
      for (let start = 0; start < acts.length; start++) {
        const group = acts.slice(start);
        const end = group.findIndex(({ act }) => act !== 'readConfig');
        const reads = group.slice(0, Math.max(0, end));
        const atomic =
          reads.length === 1 && reads.every((act) => act.act === 'readConfig' && act.length <= 4);
        if (reads.length > 0 && !atomic) {
          const around = [acts[start - 1]?.act, group[end]?.act];
          same(around, ['configGeneration', 'configGeneration'], `around ${reads.length} reads`);
        }
        start += reads.length;
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Configuration Space',
    statement: 'reads no field whose feature the device does not offer',
    scope: 'bus',
    async run(driver) {
      const { type } = driver.fixture;
      needsConfig(driver);
      const { transport } = await driver.connect();
      const none = type.featureSet(['VERSION_1']);
      const recorder = new Recorder(new OffersOnly(transport, none));
      // A driver may well be unable to work without its features: what counts here is what it reads.
      await endingOf(driver.exercise(recorder), transport);
      const reads = recorder.of('readConfig');
      for (const field of Object.keys(type.configRequires)) {
        const accessor = type.config.field[field];
        if (accessor === undefined) continue;
        const touched = reads.some(({ offset, length }) => {
          return offset < accessor.offset + accessor.size && accessor.offset < offset + length;
        });
        check(!touched, `${field} is not read without its feature`);
      }
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Device Configuration Space',
    statement: 'reads each field by itself, at its own offset and within its own width (D6)',
    scope: 'bus',
    async run(driver) {
      const { type } = driver.fixture;
      needsConfig(driver);
      const fields = Object.values(type.config.field);
      for (const { offset, length } of (await watched(driver)).recorder.of('readConfig')) {
        const within = fields.some((field) => {
          return offset >= field.offset && offset + length <= field.offset + field.size;
        });
        check(within, `${length} bytes at ${offset} lie within one field`);
      }
    },
  },
];

function needsConfig({ fixture }: DriverUnderTest): void {
  if (Object.keys(fixture.type.config.field).length === 0)
    notApplicable('the device type has no configuration');
}

async function readFields(
  { transport, type }: { readonly transport: DriverTransport; readonly type: DeviceType },
  offered: FeatureSet,
): Promise<number[][]> {
  const values: number[][] = [];
  for (const [name, accessor] of Object.entries(type.config.field)) {
    if (!hasField(type, name, offered)) continue;
    values.push([...(await transport.readConfig(accessor.offset, accessor.size))]);
  }
  return values;
}

type DriverTransport = Awaited<ReturnType<DriverUnderTest['connect']>>['transport'];

/** The device changes its configuration during the driver's first read: what was read is rubbish. */
class Torn extends TransportProxy {
  spoilt = 0;
  #generations = 0;

  override async configGeneration(): Promise<number> {
    const value = await super.configGeneration();
    return this.#generations++ === 0 ? value + 1 : value;
  }

  override async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const bytes = await super.readConfig(offset, length);
    if (this.#generations > 1) return bytes;
    this.spoilt++;
    return bytes.map((byte) => byte ^ 0xee);
  }
}

/** A device that says it offers exactly these. */
class OffersOnly extends TransportProxy {
  readonly #features: FeatureSet;

  constructor(inner: DriverTransport, features: FeatureSet) {
    super(inner);
    this.#features = features;
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    return this.#features;
  }
}
