import { describe, expect, it } from 'vitest';
import { loopbackBus } from '../../testing/buses.ts';
import { netFixture } from '../../testing/fixtures/net.ts';
import { configurationName, configurationsOf, fixtureOptionsOf, reservedOf } from '../../testing/matrix.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';

describe('the network device and its driver', () => {
  for (const configuration of configurationsOf([loopbackBus])) {
    it(`work with all features: ${configurationName(configuration)}`, async () => {
      const transport = new Loopback(netFixture.make(reservedOf(configuration)), {
        onError: (error) => {
          throw error;
        },
      });
      await expect(netFixture.exercise(transport, fixtureOptionsOf(configuration))).resolves.toBeUndefined();
    });
  }
});
