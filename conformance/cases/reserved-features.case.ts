import { reservedFeatures } from 'virtio/spec';
import { type ConformanceCase, check, RawDriver, same } from 'virtio/testing';
import { first, modernOnly, withInOrder } from '../skips.ts';
import { watched } from '../watched.ts';

export { configurationsOf } from '../configurations.ts';

/** 6: reserved feature bits. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Reserved Feature Bits',
    statement: 'offers VERSION_1',
    scope: 'bus',
    skip: modernOnly('the legacy interface has no VERSION_1'),
    async run({ transport }) {
      const offered = await transport.readDeviceFeatures();
      check(offered.has(reservedFeatures.VERSION_1), 'VERSION_1 is offered');
    },
  },
  {
    side: 'device',
    clause: 'device: Reserved Feature Bits',
    statement: 'does not offer SR_IOV where there is no SR-IOV capability',
    scope: 'bus',
    async run({ transport }) {
      const offered = await transport.readDeviceFeatures();
      check(!offered.has(reservedFeatures.SR_IOV), 'SR_IOV is not offered');
    },
  },
  {
    side: 'device',
    clause: 'device: Reserved Feature Bits',
    statement: 'with IN_ORDER, uses buffers in the order in which they were made available',
    scope: 'matrix',
    skip: first(withInOrder),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      for (let lap = 0; lap < 3; lap++) {
        const count = Math.max(1, Math.floor(ring.size / 4));
        const offered: number[] = [];
        for (let i = 0; i < count; i++) offered.push(ring.offer(driver.elements()));
        driver.kick(ring);
        const used: number[] = [];
        while (used.length < count) used.push((await driver.nextUsed(ring)).id);
        same(used, offered, 'the order of used buffers');
      }
      await driver.finish();
    },
  },
  {
    side: 'driver',
    clause: 'driver: Reserved Feature Bits',
    statement: 'accepts VERSION_1, and what else of the ring is offered to it that it was told to use',
    scope: 'matrix',
    skip: modernOnly('the legacy interface has no VERSION_1'),
    async run(driver) {
      const { recorder } = await watched(driver);
      const accepted = recorder.of('writeDriverFeatures').at(-1)?.features;
      const { packed, eventIdx, indirect, inOrder } = driver.configuration;
      const found = (['VERSION_1', 'RING_PACKED', 'EVENT_IDX', 'INDIRECT_DESC', 'IN_ORDER'] as const).map(
        (name) => accepted?.has(reservedFeatures[name]),
      );
      same(found, [true, packed, eventIdx, indirect, inOrder], 'what was accepted');
    },
  },
  {
    side: 'driver',
    clause: 'driver: Reserved Feature Bits',
    statement: 'negotiates no SR_IOV with a device that is not on PCI or has no such capability',
    scope: 'bus',
    async run(driver) {
      const { recorder } = await watched(driver);
      const accepted = recorder.of('writeDriverFeatures').some(({ features }) => {
        return features.has(reservedFeatures.SR_IOV);
      });
      check(!accepted, 'SR_IOV is not accepted');
    },
  },
];
