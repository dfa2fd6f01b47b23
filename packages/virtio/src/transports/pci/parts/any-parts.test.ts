import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AdminRefusal } from '../../../device/admin/refusal.ts';
import { consoleDevice } from '../../../devices/console/index.ts';
import { entropyDevice, openEntropy } from '../../../devices/entropy/index.ts';
import { restorePciFunction, savePciFunction } from '../saving.ts';
import { PciMember } from './member.ts';
import { MovableGuest } from './movable.fixture.ts';

const orRefuse = (work: () => void): boolean => {
  try {
    work();
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(AdminRefusal);
    return false;
  }
};

it('any values are taken or refused, and the device goes on with them or as it was', async () => {
  const guest = new MovableGuest();
  const pciFunction = guest.join(entropyDevice({ source: (target) => void target.fill(1) }));
  await openEntropy(await guest.openTransport());
  const start = savePciFunction(pciFunction);
  const member = new PciMember(pciFunction);
  const mutations = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 })), {
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(mutations, async (changes) => {
      restorePciFunction(pciFunction, start);
      await member.stop();
      const parts = member.parts().map((part) => ({ ...part, value: part.value.slice() }));
      for (const [which, at, value] of changes) {
        const part = parts[which % parts.length]!;
        part.value[at % part.value.length] = value;
      }
      orRefuse(() => member.setParts(parts));
      if (!orRefuse(() => member.resume())) expect(member.stopped).toBe(true);
      pciFunction.reset();
    }),
    { numRuns: 150 },
  );
}, 20_000);

it('any JSON as the state of a device is taken or refused', async () => {
  const guest = new MovableGuest();
  const pciFunction = guest.join(consoleDevice({}));
  const member = new PciMember(pciFunction);
  await member.stop();
  const own = member.parts().at(-1)!;
  const { config } = JSON.parse(String.fromCharCode(...own.value));
  fc.assert(
    fc.property(fc.jsonValue(), fc.boolean(), (device, whole) => {
      const state = whole ? { config, pendingConfig: false, device } : device;
      const value = new TextEncoder().encode(JSON.stringify(state) ?? '');
      orRefuse(() => member.setParts([{ ...own, value }]));
      orRefuse(() => member.resume());
      pciFunction.reset();
    }),
    { numRuns: 100 },
  );
});
