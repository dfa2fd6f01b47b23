/** Prints the closing line of CI from vitest's JSON report: `tsx tools/closing-line.ts REPORT`. */
import { readFileSync } from 'node:fs';
import { closingLine } from './report/count-tests.ts';

const text = readFileSync(process.argv[2] ?? '', 'utf8');
if (text === '') {
  console.error('vitest wrote no report: it did not come to its end');
  process.exitCode = 1;
} else {
  console.log(closingLine(JSON.parse(text)));
}
