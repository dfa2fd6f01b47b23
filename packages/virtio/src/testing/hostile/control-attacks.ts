import { UsageError } from '../../errors.ts';
import { FeatureSet, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import { modernOnly } from '../matrix.ts';
import { negotiatedStatus } from '../raw/driver.ts';
import type { AnyRingAttack, AttackField } from './driver-attack.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = status;

const separateAreas = modernOnly('a legacy queue is one piece, which a bus may place by its page alone');

/** What a driver can do to the registers, before any buffer. */
export const controlAttacks: readonly AnyRingAttack[] = [
  {
    name: 'DRIVER_OK before anything else',
    skip: modernOnly('a legacy device may be used before anything else'),
    ring: 'any',
    expects: ['STATUS_SEQUENCE'],
    harmless: true,
    async run({ target: { transport } }) {
      await transport.writeStatus(0);
      await transport.writeStatus(DRIVER_OK);
    },
  },
  {
    name: 'every status bit at once',
    ring: 'any',
    expects: ['STATUS_SEQUENCE'],
    harmless: true,
    async run({ target: { transport } }) {
      await transport.writeStatus(0);
      await transport.writeStatus(0xff);
    },
  },
  {
    name: 'a status bit that is cleared',
    ring: 'any',
    expects: ['STATUS_BIT_CLEARED'],
    harmless: true,
    run: ({ target: { transport } }) =>
      transport.writeStatus((negotiatedStatus(transport) | DRIVER_OK) & ~DRIVER),
  },
  {
    name: 'features after FEATURES_OK',
    ring: 'any',
    expects: ['STATUS_SEQUENCE'],
    harmless: true,
    run: ({ target: { transport } }) => transport.writeDriverFeatures(FeatureSet.empty),
  },
  {
    name: 'features that were not offered',
    skip: modernOnly('a legacy device looks at features when it is first used'),
    ring: 'any',
    expects: ['FEATURES_REFUSED'],
    harmless: true,
    async run({ target: { transport } }) {
      await renegotiate(transport, FeatureSet.of([reservedFeatures.VERSION_1, 60, 127]));
    },
  },
  {
    name: 'a notification before DRIVER_OK',
    ring: 'any',
    // The notification's width is negotiated, so a bus may not even know it as one.
    expects: ['NOTIFICATION_UNEXPECTED', 'REGISTER_ACCESS'],
    harmless: true,
    async run({ driver, ring, target: { transport } }) {
      await transport.writeStatus(0);
      driver.kick(ring);
    },
  },
  {
    name: 'a hundred notifications for nothing',
    ring: 'any',
    expects: [],
    harmless: true,
    run({ driver, ring }) {
      for (let i = 0; i < 100; i++) driver.kick(ring);
    },
  },
  ...[0, 0xffff, 0x8000].map(
    (size): AnyRingAttack => ({
      name: `a queue of ${size} descriptors`,
      skip: modernOnly('a legacy device may choose the size itself'),
      ring: 'any',
      expects: ['QUEUE_SIZE_INVALID'],
      mayLive: true,
      run: (field) => enableAgain(field, { size }),
    }),
  ),
  ...(['descriptor', 'driver', 'device'] as const).flatMap((area): AnyRingAttack[] => [
    {
      name: `a misaligned ${area} area`,
      ring: 'any',
      expects: ['QUEUE_MISALIGNED', 'PACKED_QUEUE_MISALIGNED'],
      run: (field) => enableAgain(field, { [area]: field.ring.areas[area] + 1 }),
      skip: separateAreas,
    },
    {
      name: `a ${area} area that is not memory`,
      ring: 'any',
      expects: ['ADDRESS_OUT_OF_BOUNDS'],
      run: (field) => enableAgain(field, { [area]: 2 ** 50 }),
      skip: separateAreas,
    },
    {
      name: `a ${area} area that ends behind memory`,
      ring: 'any',
      expects: ['ADDRESS_OUT_OF_BOUNDS'],
      run: (field) =>
        enableAgain(field, { [area]: (field.driver.transport.memory.regions[0]?.end ?? 0) - 4 * 4 }),
      skip: (configuration) =>
        configuration.packed && area !== 'descriptor'
          ? 'an event suppression area of 4 bytes fits there'
          : separateAreas(configuration),
    },
  ]),
  {
    name: 'areas that lie on top of one another',
    ring: 'any',
    // Every byte is memory of the driver's, so there is no rule that a device could see broken.
    expects: [],
    async run(field) {
      const { descriptor } = field.ring.areas;
      await enableAgain(field, { driver: descriptor, device: descriptor });
      field.ring.offer(field.driver.elements());
    },
  },
  {
    name: 'a response that is written over the ring',
    ring: 'any',
    expects: [],
    run({ driver, ring }) {
      const elements = driver.elements().map((element) => {
        return element.writable ? { ...element, address: ring.areas.descriptor } : element;
      });
      ring.offer(elements);
    },
  },
  {
    name: 'a request without an answer, or of no bytes',
    ring: 'any',
    expects: [],
    run({ ring, buffer }) {
      ring.offer([{ address: buffer, length: 0, writable: false }]);
      ring.offer([{ address: buffer, length: 0, writable: true }]);
      ring.offer([{ address: buffer, length: 1, writable: false }]);
      ring.offer([{ address: buffer, length: 1, writable: true }]);
    },
  },
  {
    name: 'configuration written where it is not the driver’s',
    ring: 'any',
    expects: [],
    harmless: true,
    async run({ target: { transport, type } }) {
      const { size } = type.config;
      for (let offset = 0; offset + 4 <= size; offset += 4) {
        await transport.writeConfig(offset, Uint8Array.of(0xff, 0xff, 0xff, 0xff));
      }
    },
  },
  {
    name: 'a queue that is enabled twice',
    ring: 'any',
    expects: [],
    harmless: true,
    async run({ target: { transport }, driver, ring }) {
      await transport.enableQueue(driver.queue, ring.areas).catch((error: unknown) => {
        // The driver's end of a transport may keep its program from it.
        if (!(error instanceof UsageError && error.code === 'BAD_STATE')) throw error;
      });
    },
  },
  {
    name: 'a reset of a queue with a buffer in it, twice',
    ring: 'any',
    expects: [],
    harmless: true,
    async run({ target: { transport }, driver, ring }) {
      if (!transport.carries.includes('RING_RESET')) return;
      ring.offer(driver.elements());
      driver.kick(ring);
      await transport.resetQueue(driver.queue);
      await transport.resetQueue(driver.queue);
    },
  },
];

/** Everything from the reset to the completion of a request; a reset comes after each. */
export const resetAttacks: readonly AnyRingAttack[] = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((steps) => ({
  name: `a reset after ${steps} steps`,
  ring: 'any',
  expects: [],
  harmless: true,
  async run({ driver, target: { transport } }: AttackField) {
    await transport.writeStatus(0);
    const ring = driver.place(8);
    const all: readonly (() => void | Promise<void>)[] = [
      () => transport.writeStatus(ACKNOWLEDGE),
      () => transport.writeStatus(ACKNOWLEDGE | DRIVER),
      () => transport.writeDriverFeatures(driver.features),
      () => transport.writeStatus(negotiatedStatus(transport)),
      () => transport.enableQueue(driver.queue, ring.areas),
      () => transport.writeStatus(negotiatedStatus(transport) | DRIVER_OK),
      () => void ring.offer(driver.elements()),
      () => driver.kick(ring),
      async () => void (await transport.readStatus()),
    ];
    for (const step of all.slice(0, steps)) await step();
    await transport.writeStatus(0);
  },
}));

async function renegotiate(
  transport: AttackField['target']['transport'],
  features: FeatureSet,
): Promise<void> {
  await transport.writeStatus(0);
  await transport.writeStatus(ACKNOWLEDGE);
  await transport.writeStatus(ACKNOWLEDGE | DRIVER);
  await transport.writeDriverFeatures(features);
  await transport.writeStatus(negotiatedStatus(transport));
}

/** Starts over, and enables the probed queue with areas that are wrong in one respect. */
async function enableAgain(
  { driver, ring, target: { transport } }: AttackField,
  wrong: Partial<AttackField['ring']['areas']>,
): Promise<void> {
  await renegotiate(transport, driver.features);
  await transport.enableQueue(driver.queue, { ...ring.areas, ...wrong });
  await transport.writeStatus(negotiatedStatus(transport) | DRIVER_OK);
}
