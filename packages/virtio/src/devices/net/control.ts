import type { Json } from '../../device/json.ts';
import { PeerError } from '../../errors.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import type { ReadableCursor } from '../../virtqueue/readable-cursor.ts';
import type { NetFeature } from './spec.ts';
import { controlAck, virtio_net_ctrl } from './spec-control.ts';
import type { NetSession } from './state.ts';

/** How a command ended. */
type Outcome = boolean | Uint8Array | readonly Uint8Array[];

/** A class of commands, and all that its commands have set. */
export interface ControlClass {
  /** Features of which the driver needs one to use the class. */
  readonly requires: readonly NetFeature[];
  /**
   * Carries out a command; its data follow at the cursor. True when it was done, false when it cannot be; bytes are a
   * result for the driver, and a list is as many results as it has room for. One whose data are too short may throw the
   * cursor's PeerError: it cannot be done then.
   */
  handle(command: number, data: ReadableCursor, session: NetSession): Outcome;
  /** A driver uses the device from now on, and has set nothing yet. */
  begin?(session: NetSession): void;
  /** What the driver has set is no more. */
  reset?(): void;
  /** What the driver has set, so that another device may go on with it. */
  save?(): Json;
  /** Takes back what `save` gave, after `begin`. */
  restore?(state: Json, session: NetSession): void;
}

/** The classes of commands that a device knows, by their numbers. */
export type ControlTable = Readonly<Record<number, ControlClass>>;

/** Counts what the control queue does, since the device was made. */
export class ControlCounters {
  commands = 0;
  succeeded = 0;
}

/**
 * Carries out one command, and answers it.
 *
 * @throws {PeerError} BAD_REQUEST for a buffer without room for a command or its answer.
 */
export function serveControl(
  chain: Chain,
  table: ControlTable,
  session: NetSession,
  counters: ControlCounters,
): void {
  const { readable, writable } = chain;
  if (writable.length === 0) {
    throw new PeerError('BAD_REQUEST', 'a command in controlq has no room for its answer');
  }
  const { class: number, command } = readable.struct(virtio_net_ctrl);
  counters.commands++;
  const outcome = attempt(table[number], command, readable, session);
  const fits = !(outcome instanceof Uint8Array) || outcome.length < writable.length;
  const done = outcome !== false && fits;
  if (done) counters.succeeded++;
  writable.u8(done ? controlAck.OK : controlAck.ERR);
  if (!done || outcome === true) return;
  for (const piece of outcome instanceof Uint8Array ? [outcome] : outcome) {
    if (piece.length > writable.remaining) return;
    writable.write(piece);
  }
}

function attempt(
  known: ControlClass | undefined,
  command: number,
  data: ReadableCursor,
  session: NetSession,
): Outcome {
  if (known?.requires.some((feature) => session.has(feature)) !== true) return false;
  try {
    return known.handle(command, data, session);
  } catch (error) {
    // A command without all of its data is refused, and that is all.
    if (error instanceof PeerError && error.code === 'BAD_REQUEST') return false;
    throw error;
  }
}
