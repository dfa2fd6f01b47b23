import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const virtio = fileURLToPath(new URL('../packages/cli/bin/virtio.js', import.meta.url));

const running = new Set<ChildProcessWithoutNullStreams>();

/** Ends what a test that failed has left running. */
export function endAll(): void {
  for (const child of running) child.kill();
}

function start(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): ChildProcessWithoutNullStreams {
  const child = spawn(program, args, { env });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** What became of a run of the command. */
export interface Ended {
  /** `null` when a signal ended it. */
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** The JSON lines of `stderr`. */
  readonly events: readonly Record<string, unknown>[];
  /** The other lines of `stderr`. */
  readonly errors: string;
}

/** A run of `virtio` without a terminal. */
export class CommandRun {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<unknown>;
  readonly #stdout: Buffer[] = [];
  #stderr = '';

  constructor(args: readonly string[], cache: string, environment: NodeJS.ProcessEnv = {}) {
    const env = { ...process.env, ...environment, VIRTIO_CACHE: cache, NO_COLOR: '1' };
    this.#child = start(process.execPath, [virtio, ...args], env);
    this.#ended = once(this.#child, 'close');
    this.#child.stdout.on('data', (bytes: Buffer) => this.#stdout.push(bytes));
    this.#child.stderr.on('data', (bytes: Buffer) => {
      this.#stderr += bytes.toString();
    });
    // A command that ends before it has read its input is none of the test's troubles.
    this.#child.stdin.on('error', () => {});
  }

  /** Settles when the text has come on stdout. */
  async says(text: string): Promise<void> {
    await until(
      this.#child,
      this.#child.stdout,
      () => Buffer.concat(this.#stdout).includes(text),
      () => this.#stderr,
    );
  }

  /** Settles when the text has come on stderr. */
  async reports(text: string): Promise<void> {
    const holds = (): boolean => this.#stderr.includes(text);
    await until(this.#child, this.#child.stderr, holds, () => this.#stderr);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  stopReading(): void {
    this.#child.stdout.destroy();
  }

  /** Gives it its input, and waits for it to end. */
  async end(input: string | Uint8Array = ''): Promise<Ended> {
    this.#child.stdin.end(input);
    await this.#ended;
    const lines = this.#stderr.split(/(?<=\n)/);
    const isEvent = (line: string): boolean => line.startsWith('{"schema":');
    return {
      status: this.#child.exitCode,
      stdout: Buffer.concat(this.#stdout),
      stderr: this.#stderr,
      events: lines.filter(isEvent).map((line) => JSON.parse(line)),
      errors: lines.filter((line) => !isEvent(line)).join(''),
    };
  }
}

/** What became of a run on a terminal; `before` and `after` are the terminal's settings as `stty -g` says them. */
export interface TerminalEnded {
  readonly status: number;
  readonly before: string;
  readonly after: string;
  readonly output: string;
}

/** A run of `virtio` on a terminal of its own, made by `script`. */
export interface TerminalRun {
  says(text: string): Promise<void>;
  type(text: string): void;
  /** Changes the size of the terminal, as a window manager would. */
  resize(columns: number, rows: number): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  end(): Promise<TerminalEnded>;
}

/** Starts `virtio` on a terminal of 100 columns and 30 rows. */
export function onTerminal(cache: string, ...args: readonly string[]): TerminalRun {
  const command = [
    'stty cols 100 rows 30',
    'echo "tty=$(tty)"',
    'echo "before=$(stty -g)"',
    `sh -c 'echo "pid=$$"; exec "$0" "$@"' ${[process.execPath, virtio, ...args].map(quoted).join(' ')}`,
    'echo "status=$?"',
    'echo "after=$(stty -g)"',
  ].join('; ');
  const env = { ...process.env, VIRTIO_CACHE: cache, TERM: 'xterm-256color', SHELL: '/bin/sh' };
  const child = start('script', ['--quiet', '--flush', '--command', command, '/dev/null'], env);
  const ended = once(child, 'close');
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString('latin1');
  });
  const said = (name: string): string => new RegExp(`${name}=(\\S*)`).exec(output)?.[1] ?? '';
  return {
    says: (text) =>
      until(
        child,
        child.stdout,
        () => output.includes(text),
        () => output,
      ),
    type: (text) => void child.stdin.write(text, 'latin1'),
    async resize(columns, rows) {
      await once(spawn('stty', ['-F', said('tty'), 'cols', `${columns}`, 'rows', `${rows}`]), 'close');
    },
    signal: (signal) => void process.kill(Number(said('pid')), signal),
    async end() {
      await ended;
      return { status: Number(said('status')), before: said('before'), after: said('after'), output };
    },
  };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Milliseconds: far more than anything here takes on a slow machine. */
const patience = 100_000;

/** Waits until something holds of the output so far; fails with all of it when that is not to be expected any more. */
async function until(
  child: ChildProcessWithoutNullStreams,
  stream: NodeJS.ReadableStream,
  holds: () => boolean,
  output: () => string,
): Promise<void> {
  const given = AbortSignal.timeout(patience);
  const gone = once(child, 'close', { signal: given });
  while (!holds()) {
    try {
      await Promise.race([once(stream, 'data', { signal: given }), gone]);
    } catch (cause) {
      throw new Error(`it was not said in time:\n${output()}`, { cause });
    }
    if (child.exitCode !== null && !holds()) throw new Error(`it ended before it was said:\n${output()}`);
  }
  gone.catch(() => {});
}
