import { Guest, type GuestOptions } from './guest.ts';
import type { GuestImage } from './guest-image.ts';
import type { Report } from './report.ts';
import type { SavedStates } from './saved-states.ts';
import { stateKey } from './state-key.ts';
import { v86Version } from './v86-machine.ts';

/** How a guest came to where its init waits for an instruction. */
export interface Started {
  /** `warm`: it goes on from a saved state. */
  readonly start: 'cold' | 'warm';
  /** Settles when the state of a cold start is kept, or could not be. */
  readonly saved: Promise<void>;
}

/**
 * Starts a guest whose init knows our control protocol: from the saved state if there is one that fits, else by
 * booting it, and then saves its state. No disk was looked at when a state is saved: the guest loads its disk
 * driver when it is told what to do, so other bytes on the same disk are no danger to a state.
 *
 * @param hold is given each guest as soon as it exists: the last one is the one that runs
 */
export async function startGuest(
  options: GuestOptions,
  image: GuestImage,
  states: SavedStates,
  fresh: boolean,
  report: Report,
  hold: (guest: Guest) => void,
): Promise<Started> {
  const create = async (): Promise<Guest> => {
    const guest = await Guest.create(options);
    hold(guest);
    return guest;
  };
  let guest = await create();
  const key = stateKey(guest.parts, image.id, `v86 ${v86Version()}`);
  const state = fresh ? undefined : await states.load(key);
  if (state !== undefined) {
    try {
      await guest.restore(state);
      return { start: 'warm', saved: Promise.resolve() };
    } catch (error) {
      report.notice(
        `the saved state does not fit and is dropped: ${error instanceof Error ? error.message : error}`,
      );
      await states.drop(key);
      await guest.machine.destroy();
      guest = await create();
    }
  }
  await guest.machine.run();
  const early = await Promise.race([guest.ready, guest.ended]);
  // A machine that ended already has no state worth keeping; whoever waits for its end hears of it.
  if (early !== undefined) return { start: 'cold', saved: Promise.resolve() };
  await guest.machine.pause();
  const booted = await guest.machine.save();
  await guest.machine.run();
  const saved = states.save(key, booted).catch((error: Error) => {
    report.notice(`the state after boot could not be kept, so the next start boots again: ${error.message}`);
  });
  return { start: 'cold', saved };
}
