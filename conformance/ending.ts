import type { Transport } from 'virtio/driver';

/** How a driver's work ended, or that it did not: a driver may wait for ever for what a device lacks. */
export type Ending = 'done' | 'failed' | 'waiting';

/** As many turns of the bus as any driver needs that is going to end at all. */
const turns = 2000;

/** Lets a driver work until it ends, or waits for something that does not come. */
export async function endingOf(work: Promise<unknown>, transport: Transport): Promise<Ending> {
  let ending: Ending = 'waiting';
  void work.then(
    () => {
      ending = 'done';
    },
    () => {
      ending = 'failed';
    },
  );
  for (let i = 0; i < turns && ending === 'waiting'; i++) await transport.readStatus();
  return ending;
}
