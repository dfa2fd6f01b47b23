import { GuestMemory } from 'virtio/memory';
import {
  type Bus,
  type Configuration,
  configurationName,
  deviceAttacks,
  fixtureOptionsOf,
  fixturesOn,
  reservedOf,
  withstand,
} from 'virtio/testing';
import { describe, expect, it } from 'vitest';

/** One ring with nothing else negotiated, the other with everything. */
const choicesOf = ({ name: bus, legacy = false, unordered = false }: Bus): readonly Configuration[] =>
  [false, true].map((all) => ({
    ...{ bus, legacy, packed: all && !legacy },
    ...{ eventIdx: all, indirect: all, inOrder: all && !legacy && !unordered },
  }));

/** For machines that have much else to do. */
const patience = { timeout: 60_000 };

/** Everything that a device may not do, done to each of our drivers on a bus. */
export function describeHostileDevice(bus: Bus): void {
  describe.each(fixturesOn(bus))('a hostile device against the driver of the $name', (fixture) => {
    for (const configuration of choicesOf(bus)) {
      it(`is named, and the driver lives: ${configurationName(configuration)}`, patience, async () => {
        const failures: string[] = [];
        for (const attack of deviceAttacks) {
          if (attack.skip?.(configuration) !== undefined) continue;
          const device = fixture.make(reservedOf(configuration));
          const driver = {
            configuration,
            connect: async () =>
              (await bus.connect(device, { memory: GuestMemory.ofSize(2 ** 21) })).transport,
            exercise: (transport: Parameters<typeof fixture.exercise>[0]) =>
              fixture.exercise(transport, fixtureOptionsOf(configuration)),
          };
          await withstand(attack, driver).catch((error: unknown) => {
            failures.push(`${attack.name}: ${error instanceof Error ? error.message : String(error)}`);
          });
        }
        expect(failures).toEqual([]);
      });
    }
  });
}
