import { clausesCommand } from './clauses.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { exitStatus, explain } from './exit-status.ts';
import { listCommand } from './list.ts';
import { formatJsonLine, processOutput } from './output.ts';
import { runProgram } from './program.ts';
import { runCommand } from './run/run.ts';

const output = processOutput();
const args = process.argv.slice(2);

// A reader that goes away (`virtio list | head`) is no fault of anybody's.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(exitStatus.ok);
});

try {
  process.exitCode = await runProgram(
    args,
    {
      run: (options) => runCommand(options, output),
      list: (options) => {
        listCommand(output, options);
        return exitStatus.ok;
      },
      clauses: (options) => {
        clausesCommand(output, options);
        return exitStatus.ok;
      },
      doctor: (options) => doctorCommand(output, options),
    },
    output.out,
  );
} catch (error) {
  const { status, message } = explain(error);
  if (args.includes('--json')) output.err(formatJsonLine({ event: 'error', status, message }));
  else output.err(`virtio: ${message}\n`);
  if (process.env.VIRTIO_DEBUG) console.error(error);
  process.exitCode = status;
}
