import { describe, expect, it, vi } from 'vitest';
import { entropyDevice } from '../../devices/entropy/device.ts';
import { openEntropy } from '../../devices/entropy/driver.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import type { Fixture } from '../../testing/fixtures/fixture.ts';
import { fixtures, fixturesOn } from '../../testing/fixtures/index.ts';
import type { PciAccess } from '../../transports/pci/access.ts';
import { room } from '../../transports/pci/connect.ts';
import { legacyOnly } from '../../transports/pci/legacy-device.ts';
import { openPci } from '../../transports/pci/open-pci.ts';
import type { PciFunctionOptions } from '../../transports/pci/options.ts';
import { VfioPciFunction } from '../client-function.ts';
import { Served } from '../vfio-user.fixture.ts';

const ways: readonly {
  readonly way: string;
  readonly reserved: readonly ReservedFeatureName[];
  readonly indirectPolicy?: 'always' | 'never';
  /** For the entropy device alone, which is quick. */
  readonly quick?: boolean;
  readonly pciFunction?: Partial<PciFunctionOptions>;
}[] = [
  { quick: true, way: 'split rings', reserved: [] },
  { quick: true, way: 'split rings with event indexes', reserved: ['EVENT_IDX'] },
  {
    way: 'split rings and indirect tables',
    reserved: ['EVENT_IDX', 'INDIRECT_DESC'],
    indirectPolicy: 'always',
  },
  { quick: true, way: 'split rings in order', reserved: ['IN_ORDER'] },
  { quick: true, way: 'packed rings', reserved: ['RING_PACKED'] },
  {
    way: 'packed rings with event indexes, by the line',
    reserved: ['RING_PACKED', 'EVENT_IDX'],
    pciFunction: { msixVectors: 0 },
  },
  {
    way: 'packed rings and indirect tables, in order',
    reserved: ['RING_PACKED', 'EVENT_IDX', 'INDIRECT_DESC', 'IN_ORDER'],
    indirectPolicy: 'always',
  },
];

/** Opens what is served by a client that shares no memory. */
async function opened(served: Served, length = 4 * 2 ** 20) {
  const shared = served.sharedMemory(length);
  const { descriptors } = served;
  const function_ = await VfioPciFunction.open(served.connect(), { descriptors, shared, byMessages: true });
  expect(served.server.pciFunction.core.memory.regions).toEqual([]);
  return {
    access: function_,
    async end(): Promise<void> {
      function_.close();
      shared.close();
      await served.expectNothingLeft();
    },
  };
}

async function exercise(
  fixture: Fixture,
  served: Served,
  open: (access: PciAccess) => ReturnType<typeof openPci>,
  options: Parameters<Fixture['exercise']>[1],
): Promise<void> {
  const { access, end } = await opened(served);
  await fixture.exercise(await open(access), options);
  expect([served.errors, served.violations]).toEqual([[], []]);
  await end();
}

describe.each(fixtures)('the $name in memory that is reached by messages alone', (fixture) => {
  it.each(ways.filter(({ quick = false }) => !quick || fixture.name === 'entropy'))(
    'does all that it can do on $way',
    async ({ reserved, indirectPolicy = 'never', pciFunction = {} }) => {
      const features: readonly ReservedFeatureName[] = ['VERSION_1', ...reserved];
      const served = new Served(fixture.make(features), pciFunction);
      const open = (access: PciAccess) => openPci(access, { room });
      await exercise(fixture, served, open, { reserved: features, indirectPolicy });
    },
  );
});

describe.each(fixturesOn({ legacy: true }))(
  'the legacy $name in memory that is reached by messages alone',
  (fixture) => {
    it('does all that it can do for a big-endian guest', async () => {
      const reserved = ['EVENT_IDX', 'INDIRECT_DESC'] as const;
      const served = new Served(fixture.make(['VERSION_1', ...reserved]), {
        legacy: legacyOnly({ endian: 'big' }),
      });
      const open = (access: PciAccess) => openPci(access, { room, vectors: 0, endian: 'big' });
      await exercise(fixture, served, open, { reserved, indirectPolicy: 'auto' });
    });
  },
);

describe('a queue in memory that is reached by messages alone', () => {
  it('passes the end of its indexes, and of its ring, over and over', async () => {
    let next = 0;
    const served = new Served(entropyDevice({ source: (target) => void target.fill(next++) }));
    const { access, end } = await opened(served);
    const entropy = await openEntropy(await openPci(access, { room }));
    for (let i = 0; i < 300; i++)
      expect((await entropy.read(3)).every((byte) => byte === (i & 0xff))).toBe(true);
    await entropy.close();
    expect([served.errors, served.violations]).toEqual([[], []]);
    await end();
  });

  it('is reset while the device works, and is set up anew', async () => {
    const finish: (() => void)[] = [];
    const served = new Served(
      entropyDevice({ source: () => new Promise<void>((resolve) => void finish.push(resolve)) }),
    );
    const first = await opened(served);
    const entropy = await openEntropy(await openPci(first.access, { room }));
    const reading = entropy.read(16);
    reading.catch(() => {}); // its driver goes away
    await vi.waitFor(() => expect(finish).toHaveLength(1));
    await first.access.client.reset();
    finish.pop()?.();
    const again = await openEntropy(await openPci(first.access, { room }));
    const second = again.read(16);
    await vi.waitFor(() => expect(finish).toHaveLength(1));
    finish.pop()?.();
    expect(await second).toHaveLength(16);
    await again.close();
    expect(served.violations).toEqual([]);
    await first.end();
  });
});
