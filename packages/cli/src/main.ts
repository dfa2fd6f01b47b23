import { benchCommand } from './bench/bench.ts';
import { clausesCommand } from './clauses.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { exitStatus, explain } from './exit-status.ts';
import { listCommand } from './list.ts';
import { formatJsonLine, processOutput } from './output.ts';
import { probeCommand } from './probe/probe.ts';
import { runProgram } from './program.ts';
import { drained } from './run/host-streams.ts';
import { runCommand } from './run/run.ts';

const output = processOutput();
const args = process.argv.slice(2);

let status: number;
try {
  status = await runProgram(
    args,
    {
      run: (options) => runCommand(options, output),
      list: (options) => reading(() => listCommand(output, options)),
      clauses: (options) => reading(() => clausesCommand(output, options)),
      doctor: (options) => doctorCommand(output, options),
      probe: (socket, options) => probeCommand(output, socket, options),
      bench: (type, socket, options) => benchCommand(output, type, socket, options),
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
