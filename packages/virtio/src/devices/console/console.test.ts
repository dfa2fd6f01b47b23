import { describe, expect, it } from 'vitest';
import { loopbackBus } from '../../testing/buses.ts';
import { consoleFixture } from '../../testing/fixtures/console.ts';
import { configurationName, configurationsOf, fixtureOptionsOf, reservedOf } from '../../testing/matrix.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';

describe('the console device and its driver', () => {
  for (const configuration of configurationsOf([loopbackBus])) {
    it(`work with all features: ${configurationName(configuration)}`, async () => {
      const transport = new Loopback(consoleFixture.make(reservedOf(configuration)), {
        onError: (error) => {
          throw error;
        },
      });
      await expect(
        consoleFixture.exercise(transport, fixtureOptionsOf(configuration)),
      ).resolves.toBeUndefined();
    });
  }
});
