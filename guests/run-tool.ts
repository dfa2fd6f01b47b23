import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Tool } from 'virtio-node/guests';

const run = promisify(execFile);

/** Runs a tool's main program, which has to succeed. */
export async function runTool(tool: Tool, args: readonly string[]): Promise<string> {
  const { stdout } = await run(tool.file, args, { env: { ...process.env, ...tool.environment } });
  return stdout;
}
