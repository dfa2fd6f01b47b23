import { exitStatus, explain } from './exit-status.ts';
import { formatJsonLine, processOutput } from './output.ts';
import { runProgram } from './program.ts';
import { drained } from './run/host-streams.ts';

const output = processOutput();
const args = process.argv.slice(2);

let status: number;
try {
  status = await runProgram(
    args,
    {
      // Each is loaded when it is asked for: a back end has to be ready at once, and needs no emulator.
      run: async (options) => (await import('./run/run.ts')).runCommand(options, output),
      serve: async (type, options) => (await import('./serve/serve.ts')).serveCommand(type, options, output),
      descriptors: async (options) => (await import('./descriptors.ts')).descriptorsCommand(options, output),
      list: async (options) => {
        const { listCommand } = await import('./list.ts');
        return reading(() => listCommand(output, options));
      },
      clauses: async (options) => {
        const { clausesCommand } = await import('./clauses.ts');
        return reading(() => clausesCommand(output, options));
      },
      doctor: async (options) => (await import('./doctor/doctor.ts')).doctorCommand(output, options),
      probe: async (socket, options) =>
        (await import('./probe/probe.ts')).probeCommand(output, socket, options),
      bench: async (type, socket, options) =>
        (await import('./bench/bench.ts')).benchCommand(output, type, socket, options),
    },
    output.out,
  );
} catch (error) {
  const { message, ...explained } = explain(error);
  status = explained.status;
  if (args.includes('--json')) output.err(formatJsonLine({ event: 'error', status, message }));
  else output.err(`virtio: ${message}\n`);
  if (process.env.VIRTIO_DEBUG) console.error(error);
}
// An emulator that was left in the middle of something must not keep the process.
await Promise.all([drained(process.stdout), drained(process.stderr)]);
process.exit(status);

/** A command that only prints. A reader that goes away (`virtio list | head`) is no fault of anybody's. */
function reading(print: () => void): number {
  process.stdout.on('error', () => process.exit(exitStatus.ok));
  print();
  return exitStatus.ok;
}
