/** The virtio-serial port on which the guest's init and the host talk; lines of text end in a line feed. */
export const controlPort = 'org.virtio-ts.control';
/** If a port of this name exists, `exec` reads its standard input from it; closing it on the host is its end. */
export const stdinPort = 'org.virtio-ts.stdin';
/** If a port of this name exists, `exec` writes its standard error to it, and the terminal has stdout alone. */
export const stderrPort = 'org.virtio-ts.stderr';

/** What the guest is to do. */
export type Instruction =
  | { readonly type: 'shell'; readonly columns: number; readonly rows: number }
  | { readonly type: 'exec'; readonly command: string };

/** A folder that is shared with the guest, which mounts it at `/mnt/TAG` before it does what it is told. */
export interface GuestMount {
  /** The device's. Letters, digits and `.`, `_`, `-`. */
  readonly tag: string;
  readonly readOnly: boolean;
}

/** What the guest says. `status` is that of a shell: 0–255, above 128 for a signal. */
export type GuestMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'exit'; readonly status: number }
  /** A folder that was to be mounted is not. */
  | { readonly type: 'unmounted'; readonly tag: string }
  /** How large the guest holds its terminal to be when a shell is asked for. */
  | { readonly type: 'size'; readonly columns: number; readonly rows: number }
  | { readonly type: 'unknown'; readonly line: string };

/**
 * The lines that start an instruction: the time and fresh entropy go first, because a machine that was
 * restored has neither.
 *
 * @param now seconds since 1970
 * @param seed random bytes to be mixed into the guest's pool
 * @param mounts what is to be mounted before
 * @param unaddressed MAC addresses of network devices for whose addresses it is not to wait, since nobody gives them any
 */
export function instructionLines(
  instruction: Instruction,
  now: number,
  seed: Uint8Array,
  mounts: readonly GuestMount[] = [],
  unaddressed: readonly string[] = [],
): Uint8Array {
  const last =
    instruction.type === 'shell'
      ? `shell ${instruction.columns} ${instruction.rows}`
      : `exec ${Buffer.from(instruction.command).toString('base64')}`;
  const lines = [
    `time ${Math.floor(now)}`,
    `seed ${Buffer.from(seed).toString('base64')}`,
    ...mounts.map(({ tag, readOnly }) => `mount ${tag} ${readOnly ? 'ro' : 'rw'}`),
    ...unaddressed.map((mac) => `unaddressed ${mac}`),
    last,
  ];
  return new TextEncoder().encode(lines.map((line) => `${line}\n`).join(''));
}

const longestLine = 4096;

/** Turns the bytes that arrive from the guest into messages. Holds at most one line of 4096 characters. */
export class GuestMessages {
  #line = '';

  /** The messages that these bytes complete. */
  push(bytes: Uint8Array): GuestMessage[] {
    const lines = (this.#line + Buffer.from(bytes).toString('latin1')).split('\n');
    this.#line = (lines.pop() ?? '').slice(0, longestLine);
    return lines.map((line) => parse(line.slice(0, longestLine)));
  }
}

function parse(line: string): GuestMessage {
  if (line === 'ready') return { type: 'ready' };
  const tag = /^unmounted ([\w.-]+)$/.exec(line)?.[1];
  if (tag !== undefined) return { type: 'unmounted', tag };
  const [, rows, columns] = /^size (\d{1,5}) (\d{1,5})$/.exec(line) ?? [];
  if (columns !== undefined) return { type: 'size', columns: Number(columns), rows: Number(rows) };
  const status = /^exit (\d{1,3})$/.exec(line)?.[1];
  return status === undefined ? { type: 'unknown', line } : { type: 'exit', status: Number(status) };
}

/** What happens to a machine by a line of the kernel's own console. */
export type ConsoleEvent = 'panic' | 'off' | 'reboot';

const consoleEvents: readonly (readonly [RegExp, ConsoleEvent])[] = [
  [/Kernel panic - not syncing/, 'panic'],
  // A kernel that finds no way to cut the power halts instead.
  [/reboot: (Power down|System halted)/, 'off'],
  [/reboot: Restarting system/, 'reboot'],
];

/** Reads a line of the kernel's console (ttyS0) for the end of the machine; the kernel says it even when quiet. */
export function consoleEvent(line: string): ConsoleEvent | undefined {
  return consoleEvents.find(([pattern]) => pattern.test(line))?.[1];
}
