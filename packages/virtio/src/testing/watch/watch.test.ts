import { expect, it } from 'vitest';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { entropyFixture } from '../fixtures/entropy.ts';
import { packedAttacks } from '../hostile/packed-attacks.ts';
import { splitAttacks } from '../hostile/split-attacks.ts';
import { type Configuration, reservedOf } from '../matrix.ts';
import { RawDriver } from '../raw/driver.ts';
import { RawPackedRing } from '../raw/packed-ring.ts';
import { RawSplitRing } from '../raw/split-ring.ts';
import { PackedWatch } from './packed-watch.ts';
import { SplitWatch } from './split-watch.ts';

/** What a device refuses for its own sake: no clause of the driver's speaks of it. */
const noClause = [
  'an indirect table of 4294967280 bytes',
  'an indirect table of 0 bytes',
  'a Buffer ID behind the end of the ring',
  'the largest Buffer ID there is',
  'more than 2^32 bytes in one list',
];

const { type, probe } = entropyFixture;

async function field(packed: boolean, indirect: boolean) {
  const configuration: Configuration = {
    bus: 'loopback',
    packed,
    eventIdx: false,
    indirect,
    inOrder: false,
  };
  const transport = new Loopback(entropyFixture.make(reservedOf(configuration)));
  const target = { transport, type, probe, configuration };
  const { driver, ring } = await RawDriver.start(target, { size: 8 });
  return { configuration, target, driver, ring, buffer: driver.allocate(4096) };
}

for (const attack of splitAttacks.filter(
  ({ expects, name }) => expects.length > 0 && !noClause.includes(name),
)) {
  it(`sees in a split ring: ${attack.name}`, async () => {
    const indirect = attack.skip?.((await field(false, true)).configuration) === undefined;
    const { ring, ...rest } = await field(false, indirect);
    if (!(ring instanceof RawSplitRing)) throw new Error('no split ring');
    const watch = new SplitWatch(rest.driver.transport.memory, ring.areas, rest.configuration);
    watch.look();
    expect(watch.findings).toEqual([]);
    await attack.run({ ring, ...rest });
    watch.look();
    expect(watch.findings).not.toEqual([]);
  });
}

for (const attack of packedAttacks.filter(
  ({ expects, name }) => expects.length > 0 && !noClause.includes(name),
)) {
  it(`sees in a packed ring: ${attack.name}`, async () => {
    const indirect = attack.skip?.((await field(true, true)).configuration) === undefined;
    const { ring, ...rest } = await field(true, indirect);
    if (!(ring instanceof RawPackedRing)) throw new Error('no packed ring');
    const watch = new PackedWatch(rest.driver.transport.memory, ring.areas, rest.configuration);
    watch.look();
    expect(watch.findings).toEqual([]);
    await attack.run({ ring, ...rest });
    watch.look();
    expect(watch.findings).not.toEqual([]);
  });
}
