import { type ChildProcess, type IOType, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { HostError, UsageError } from 'virtio/errors';
import { findProgram, programFolders } from './run.ts';

/** Of what a program complains, this much is kept, in characters. */
const longestComplaint = 65_536;

const running = new Set<ChildProcess>();
let watchesExit = false;

/** User-mode Linux before 7 leaves processes of its own behind, which would hold its output open. */
function endAll(child: ChildProcess): void {
  child.kill('SIGKILL');
  if (child.pid === undefined) return;
  try {
    // It leads a group, which has its number as long as anybody is in it.
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody is.
  }
}

/** Has a child end with this process. */
function keep(child: ChildProcess): void {
  running.add(child);
  if (watchesExit) return;
  watchesExit = true;
  process.on('exit', () => {
    for (const one of running) endAll(one);
  });
}

export interface ChildOptions {
  /** How people call it. */
  readonly name: string;
  /** Added to our own environment, for the program alone. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Its standard output is to be read, by `output`. */
  readonly output?: boolean;
  /** Number of sockets that it has from file descriptor 3 on. */
  readonly sockets?: number;
}

/**
 * Somebody else's program that runs beside us, and ends with us whatever ends us. It has a session of its own, so that no
 * key on our terminal reaches it.
 */
export class GuardedChild {
  readonly #name: string;
  readonly #child: ChildProcess;
  /** Settles when it has ended and all its output has come: what to tell whoever needed it. Never rejects. */
  readonly ended: Promise<HostError>;
  #complaints = '';
  #hasEnded = false;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    child.stderr?.on('data', (bytes: Buffer) => this.complain(bytes.toString()));
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        running.delete(child);
        this.#hasEnded = true;
        resolve(
          new HostError('DEVICE_GONE', `${name} ${how}: ${this.#complaints.trim() || 'it said nothing'}`),
        );
      };
      child.on('error', (cause) => end(`cannot be run: ${cause.message}`));
      child.on('close', (status, signal) => end(`ended (${signal ?? status})`));
    });
  }

  static async start(file: string, args: readonly string[], options: ChildOptions): Promise<GuardedChild> {
    const { environment = {}, output = false, sockets = 0 } = options;
    const variables = Object.entries({ LC_ALL: 'C', ...environment }).map((pair) => pair.join('='));
    // Another C library in the environment is for the program, not for those that start it.
    const command = ['env', ...variables, file, ...args];
    // With it the program ends even when this process is killed.
    const guarded = (await findProgram('setpriv', programFolders())) !== undefined;
    const [program = '', ...all] = guarded ? ['setpriv', '--pdeathsig', 'KILL', '--', ...command] : command;
    const extra: IOType[] = Array.from({ length: sockets }, () => 'pipe');
    const child = spawn(program, all, {
      detached: true,
      stdio: ['ignore', output ? 'pipe' : 'ignore', 'pipe', ...extra],
    });
    keep(child);
    return new GuardedChild(options.name, child);
  }

  /** Its process number; 0 when it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it complained of so far. */
  get complaints(): string {
    return this.#complaints;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get output(): Readable {
    return this.#made(this.#child.stdout);
  }

  /** The other end of the socket that the program has as file descriptor `3 + index`. */
  socket(index: number): Socket {
    // Node makes sockets of all that is called a pipe.
    return this.#made(this.#child.stdio[3 + index]) as Socket;
  }

  /** Notes what is to be told with its end. */
  complain(text: string): void {
    this.#complaints = (this.#complaints + text).slice(-longestComplaint);
  }

  /** Ends it at once, with all that it started in its session, and answers how it ended. */
  kill(): Promise<HostError> {
    endAll(this.#child);
    return this.ended;
  }

  #made<T>(stream: T | null | undefined): T {
    if (stream) return stream;
    throw new UsageError('BAD_STATE', `${this.#name} was started without this stream`);
  }
}
