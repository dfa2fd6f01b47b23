import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { consoleDevice, controlEvent } from './index.ts';
import { openRaw, type RawGuest, rawGuest } from './raw-guest.fixture.ts';

const { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, PORT_OPEN } = controlEvent;

const maxPorts = 4;

/** What a host and a guest can do, in any order. Each message is heard by a buffer that was given before or after it. */
const step = fc.oneof(
  fc.record({ kind: fc.constantFrom('add', 'ready', 'hear', 'reset') }),
  fc.record({ kind: fc.constantFrom('remove', 'portReady', 'open', 'toggle'), id: fc.nat(maxPorts) }),
);

type Guest = Pick<RawGuest, 'tell' | 'hear'>;

/** What a guest knows from the messages that it heard. */
class Witness {
  readonly ports = new Set<number>();
  readonly mistakes: string[] = [];
  forgotten = false;

  heard([id = -1, event]: readonly number[]): void {
    if (this.forgotten) return;
    if (event === DEVICE_ADD) {
      if (this.ports.has(id) || id >= maxPorts) this.mistakes.push(`port ${id} was added`);
      this.ports.add(id);
    } else if (event === DEVICE_REMOVE) {
      if (!this.ports.delete(id)) this.mistakes.push(`port ${id} was removed`);
    } else if (!this.ports.has(id)) {
      this.mistakes.push(`port ${id} was spoken of`);
    }
  }
}

describe('plugging and unplugging in any order', () => {
  // @holds 5.3.6.2.1 device: Device Types / Console Device / Device Operation / Multiport Device Operation
  it('tells the guest of each port that there is, once, and of no other', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const device = consoleDevice({ maxPorts });
        const { transport, errors, ...first } = await rawGuest(device);
        let guest: Guest = first;
        let witness = new Witness();
        const listen = (): void => {
          const mine = witness;
          // A buffer that a reset took away hears nothing.
          guest.hear().then(
            (message) => mine.heard(message),
            () => undefined,
          );
        };
        for (const { kind, ...rest } of steps) {
          const id = 'id' in rest ? rest.id : 0;
          const port = device.ports.find((one) => one.id === id);
          if (kind === 'add' && device.ports.length < maxPorts) device.addPort({});
          else if (kind === 'remove' && port !== undefined && id > 0) await device.removePort(port);
          else if (kind === 'toggle') port?.hostOpen ? port.close() : port?.open();
          else if (kind === 'ready') await guest.tell(0, DEVICE_READY, 1);
          else if (kind === 'portReady') await guest.tell(id, PORT_READY, 1);
          else if (kind === 'open') await guest.tell(id, PORT_OPEN, 1);
          else if (kind === 'hear') listen();
          else if (kind === 'reset') {
            witness.forgotten = true;
            witness = new Witness();
            guest = await openRaw(transport);
          }
        }
        await guest.tell(0, DEVICE_READY, 1);
        for (let times = 0; times < 40; times++) listen();
        for (let turn = 0; turn < 500; turn++) await Promise.resolve();
        expect(witness.mistakes).toEqual([]);
        expect([...witness.ports].sort()).toEqual(device.ports.map(({ id }) => id));
        expect(errors).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });
});
