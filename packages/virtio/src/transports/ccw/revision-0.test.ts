import { describe, expect, it } from 'vitest';
import { fixturesOn } from '../../testing/fixtures/index.ts';
import { connectCcw, joinCcw } from './connect.ts';
import { CcwTransport } from './driver.ts';
import { legacyCcwDevice, legacyCcwDriver } from './legacy.ts';

/** What the device names as wrong while its fixture is exercised. */
async function mistakes(
  fixture: ReturnType<typeof fixturesOn>[number],
  connect: (onError: (error: Error) => void) => Promise<CcwTransport>,
): Promise<{ transport: CcwTransport; errors: string[] }> {
  const errors: string[] = [];
  const transport = await connect(({ message }) => void errors.push(message));
  await fixture.exercise(transport, { reserved: ['VERSION_1'], indirectPolicy: 'never' });
  return { transport, errors };
}

describe.each(fixturesOn({ legacy: true }))('at revision 0, the $name', (fixture) => {
  it.each([false, true])(
    'works as a legacy device, with adapter interruptions: %s',
    async (adapterInterrupts) => {
      const { errors, transport } = await mistakes(fixture, async (onError) => {
        const options = { revision: 0, adapterInterrupts, onError } as const;
        return (await connectCcw(fixture.make([]), options)).transport;
      });
      expect(errors).toEqual([]);
      expect(transport.legacy?.endian).toBe('big');
    },
  );

  it('works as a transitional device, under a driver of each revision', async () => {
    const { io, schid } = joinCcw(fixture.make([]), { unit: { legacy: legacyCcwDevice() } });
    for (const revision of [0, 1, 2] as const) {
      const { transport } = await mistakes(fixture, () =>
        CcwTransport.open(io, schid, { revision, legacy: legacyCcwDriver() }),
      );
      expect(transport.revision).toBe(revision);
      await transport.close();
    }
  });
});
