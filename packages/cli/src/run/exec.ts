import type { Readable } from 'node:stream';
import { CommandError, exitStatus } from '../exit-status.ts';
import type { Ending } from './ending.ts';
import type { Guest } from './guest.ts';
import { pump } from './host-streams.ts';

/** Milliseconds that an init of the user's is given to say that it is ready. */
const patience = 120_000;

/** Runs one command to its end, with our standard input as its own. */
export async function runExec(guest: Guest, command: string, input: Readable): Promise<Ending> {
  const unready = await Promise.race([guest.ready, guest.ended, timeout()]);
  if (unready !== undefined) return unready;
  guest.instruct({ type: 'exec', command });
  const fed = pump(
    input,
    (bytes) => guest.input(bytes),
    () => guest.endInput(),
  );
  // A command that ends without reading leaves its input where it is; what fails in reading it is our fault.
  const failed = new Promise<never>((_, reject) => fed.catch(reject));
  return Promise.race([guest.ended, failed]);
}

function timeout(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => {
      const message =
        'the guest does not take commands: --exec needs an init that speaks on the port org.virtio-ts.control, as ours does; leave --initrd out, or --exec';
      reject(new CommandError(exitStatus.usage, message));
    }, patience).unref();
  });
}
