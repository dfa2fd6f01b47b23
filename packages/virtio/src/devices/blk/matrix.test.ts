import { describe, expect, it } from 'vitest';
import type { VirtioError } from '../../errors.ts';
import { loopbackBus } from '../../testing/buses.ts';
import { blkFixture } from '../../testing/fixtures/blk.ts';
import { configurationName, configurationsOf, fixtureOptionsOf, reservedOf } from '../../testing/matrix.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';

describe('a disk with every feature, and its driver', () => {
  for (const configuration of configurationsOf([loopbackBus])) {
    // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
    // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
    it(`understand each other twice: ${configurationName(configuration)}`, async () => {
      const errors: VirtioError[] = [];
      const made = blkFixture.make(reservedOf(configuration));
      for (let round = 0; round < 2; round++) {
        const transport = new Loopback(made, { onError: (error) => void errors.push(error) });
        await blkFixture.exercise(transport, fixtureOptionsOf(configuration));
      }
      expect(errors).toEqual([]);
    });
  }
});
