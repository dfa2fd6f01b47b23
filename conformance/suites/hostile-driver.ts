import { HostError, type VirtioError } from 'virtio/errors';
import { Allocator, GuestMemory } from 'virtio/memory';
import {
  attackSkip,
  type Bus,
  type Configuration,
  configurationName,
  driverAttacks,
  fixtureOptionsOf,
  fixturesOn,
  launch,
  reservedOf,
  ringsOf,
} from 'virtio/testing';
import { describe, expect, it } from 'vitest';

/** Both rings, with nothing else negotiated and with everything. */
const choicesOf = ({ name: bus, legacy = false, unordered = false }: Bus): readonly Configuration[] =>
  ringsOf({ legacy }).flatMap((packed) =>
    [false, true].map((all) => ({
      ...{ bus, legacy, packed },
      ...{ eventIdx: all, indirect: all, inOrder: all && !legacy && !unordered },
    })),
  );

/** Memory in pieces: the first is the driver's own, the others have edges in awkward places. */
function piecewise(): { memory: GuestMemory; allocator: Allocator } {
  const memory = new GuestMemory();
  const own = 2 ** 21;
  memory.addRegion(4096, { buffer: new ArrayBuffer(own) });
  memory.addRegion(2 ** 24, { buffer: new ArrayBuffer(8192) });
  memory.addRegion(2 ** 24 + 8192, { buffer: new ArrayBuffer(4096) });
  memory.addRegion(2 ** 32 - 4096, { buffer: new ArrayBuffer(8192) });
  return { memory, allocator: new Allocator(8192, own - 4096) };
}

/** For machines that have much else to do. */
const patience = { timeout: 60_000 };

/** Everything that a driver may not do, done to each of our devices on a bus. */
export function describeHostileDriver(bus: Bus): void {
  describe.each(fixturesOn(bus))('a hostile driver against the $name', (fixture) => {
    for (const configuration of choicesOf(bus)) {
      it(
        `breaks a queue at most, and the clause is named: ${configurationName(configuration)}`,
        patience,
        async () => {
          const errors: VirtioError[] = [];
          const { memory, allocator } = piecewise();
          const onError = (error: VirtioError): void => void errors.push(error);
          const { transport } = await bus.connect(fixture.make(reservedOf(configuration)), {
            memory,
            allocator,
            onError,
          });
          const { type, probe } = fixture;
          const target = { transport, type, probe, configuration, errors };
          const failures: string[] = [];
          let launched = 0;
          for (const attack of driverAttacks(memory)) {
            if (bus.leaves === true && attack.onSetUp === true) continue;
            if (attackSkip(attack, configuration) !== undefined) continue;
            launched++;
            await launch(attack, target).catch((error: unknown) => {
              failures.push(`${attack.name}: ${error instanceof Error ? error.message : String(error)}`);
            });
          }
          expect(failures).toEqual([]);
          expect(launched).toBeGreaterThan(60);
          expect(errors.filter((error) => error instanceof HostError)).toEqual([]);
          await expect(fixture.exercise(transport, fixtureOptionsOf(configuration))).resolves.toBeUndefined();
        },
      );
    }
  });
}
