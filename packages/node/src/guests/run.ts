import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';

/** How a program ended. `status` is null if a signal ended it. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: Buffer;
  /** The last 64 KiB of what it wrote to its standard error. */
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Given each line that the program writes to file descriptor 3. */
  readonly onStatusLine?: (line: string) => void;
}

const longestComplaint = 65_536;

/**
 * Runs a program to its end, in English and without a terminal. A status other than 0 is the caller's to judge.
 *
 * @throws HostError `MISSING_TOOL` if there is no such program.
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, LC_ALL: 'C', ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe', options.onStatusLine ? 'pipe' : 'ignore'],
    });
    const stdout: Buffer[] = [];
    let stderr = '';
    let statusLine = '';
    child.stdout?.on('data', (bytes: Buffer) => stdout.push(bytes));
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr = (stderr + bytes.toString()).slice(-longestComplaint);
    });
    child.stdio[3]?.on('data', (bytes: Buffer) => {
      const lines = (statusLine + bytes.toString()).split('\n');
      statusLine = lines.pop() ?? '';
      for (const line of lines) options.onStatusLine?.(line);
    });
    child.on('error', (cause) => reject(new HostError('MISSING_TOOL', `cannot run ${program}`, { cause })));
    child.on('close', (status) => resolve({ status, stdout: Buffer.concat(stdout), stderr }));
  });
}

/**
 * The same, for a program that has to succeed.
 *
 * @throws HostError `MISSING_TOOL` if there is no such program, `IO_ERROR` with its complaint if it fails.
 */
export async function runOrFail(
  program: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Buffer> {
  const ended = await run(program, args, options);
  if (ended.status === 0) return ended.stdout;
  throw new HostError('IO_ERROR', `${program} failed (${ended.status ?? 'killed'}): ${ended.stderr.trim()}`);
}

/** The folders in which this user's programs are looked for. */
export function programFolders(): string[] {
  return (process.env.PATH ?? '').split(':').filter(Boolean);
}

/** Whether this user can run the file. */
export async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false; // whatever the reason is, it cannot be run
  }
}

/** The first of the folders that has the program. */
export async function findProgram(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) if (await isProgram(join(folder, name))) return folder;
  return undefined;
}
