/** Starts a child that sleeps, says its process number, and waits to be killed itself. */
import { GuardedChild } from './guarded-child.ts';

const child = await GuardedChild.start('/bin/sh', ['-c', 'echo $$; exec sleep 1000'], {
  name: 'sleep',
  output: true,
});
child.output.pipe(process.stdout);
