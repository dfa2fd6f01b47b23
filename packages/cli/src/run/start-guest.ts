import { Guest, type GuestOptions } from './guest.ts';
import type { Report } from './report.ts';
import type { SavedStates, StateKey } from './saved-states.ts';

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
  const { stateKey } = options.image;
  const guest = await create();
  if (stateKey === undefined || guest.machine.state === undefined) {
    if (await guest.boot()) await guest.plug();
    return { start: 'cold', saved: Promise.resolve() };
  }
  const key = stateKey(guest.devices);
  const state = fresh ? undefined : await states.load(key);
  if (state === undefined)
    return { start: 'cold', saved: (await bootAndSave(guest, key, states, report)).kept };
  try {
    await guest.machine.state.restore(state);
    await guest.resume();
    return { start: 'warm', saved: Promise.resolve() };
  } catch (error) {
    report.notice(
      `the saved state does not fit and is dropped: ${error instanceof Error ? error.message : error}`,
    );
    await states.drop(key);
    await guest.machine.destroy();
    return { start: 'cold', saved: (await bootAndSave(await create(), key, states, report)).kept };
  }
}

/** Boots a machine, and answers when its state is kept, or could not be. */
async function bootAndSave(
  guest: Guest,
  key: StateKey,
  states: SavedStates,
  report: Report,
): Promise<{ readonly kept: Promise<void> }> {
  // A machine that ended already has no state worth keeping; whoever waits for its end hears of it.
  if (!(await guest.boot()) || guest.machine.state === undefined) return { kept: Promise.resolve() };
  const state = await guest.machine.state.save();
  const kept = states.save(key, state).catch((error: Error) => {
    report.notice(`the state after boot could not be kept, so the next start boots again: ${error.message}`);
  });
  await guest.plug();
  return { kept };
}
