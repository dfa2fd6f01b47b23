import { describe, expect, it } from 'vitest';
import { loopbackBus } from '../../testing/buses.ts';
import { fsFixture } from '../../testing/fixtures/fs.ts';
import { configurationName, configurationsOf, fixtureOptionsOf, reservedOf } from '../../testing/matrix.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';

describe('the file system device and its driver', () => {
  for (const configuration of configurationsOf([loopbackBus])) {
    it(`keep files as they are: ${configurationName(configuration)}`, async () => {
      const transport = new Loopback(fsFixture.make(reservedOf(configuration)));
      await expect(fsFixture.exercise(transport, fixtureOptionsOf(configuration))).resolves.toBeUndefined();
    });
  }
});
