import type { ConsoleEvent } from 'virtio-node/guests';
import { type ExitStatus, exitStatus } from '../exit-status.ts';

/** How a run came to its end. */
export type Ending =
  /** The shell or the command ended with this status. */
  | { readonly kind: 'exit'; readonly status: number }
  /** The user left by Ctrl-A x. */
  | { readonly kind: 'left' }
  /** The machine ended by itself; `line` is what its kernel said. */
  | { readonly kind: ConsoleEvent; readonly line: string }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals; readonly number: number }
  /** Whoever read our output went away. */
  | { readonly kind: 'unread' };

/** What the user is told of an ending, and our exit status. */
export interface Verdict {
  readonly status: number | ExitStatus;
  readonly notice?: string;
}

const sigpipe = 13;

/** @param exec whether one command was to be run, whose status is ours then. */
export function verdictOn(ending: Ending, exec: boolean): Verdict {
  switch (ending.kind) {
    case 'exit':
      return { status: exec ? ending.status : exitStatus.ok };
    case 'left':
      return { status: exitStatus.ok };
    case 'signal':
      return { status: 128 + ending.number };
    case 'unread':
      return { status: 128 + sigpipe };
    case 'panic':
      return { status: exitStatus.findings, notice: `the guest's kernel panicked: ${ending.line}` };
    case 'off':
    case 'reboot':
      if (!exec) return { status: exitStatus.ok };
      return {
        status: exitStatus.findings,
        notice: `the machine ${endings[ending.kind]} before the command ended; let the command end by itself`,
      };
  }
}

const endings = { off: 'was switched off', reboot: 'restarted' } as const;
