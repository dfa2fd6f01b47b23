import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { openQcow2 } from 'virtio-node/storage';
import { stepOf } from './qcow2-steps.ts';

/** Goes through steps from the given one on, and says which were flushed, until somebody kills it. */
const [path = '', first = ''] = process.argv.slice(2);
const disk = await openQcow2(path);
for (let n = Number(first); ; n++) {
  const { at, count, value, flushed } = stepOf(n);
  if (value === 0) disk.writeZeroes?.(at * 512, count * 512, n % 2 === 0);
  else disk.write(at * 512, new Uint8Array(new Uint32Array(count * 128).fill(value).buffer));
  // Some flushes are waited for, some are overtaken by what comes next.
  const told = flushed ? disk.flush().then(() => writeSync(1, `${n}\n`)) : undefined;
  if (n % 2 === 0) await told;
  else await setImmediate();
}
