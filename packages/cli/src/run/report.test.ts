import { expect, it } from 'vitest';
import { Report } from './report.ts';

/** A report, and what it writes. */
function reporting(json: boolean, terminal: boolean): { report: Report; written: string[] } {
  const written: string[] = [];
  const out = (): never => expect.unreachable('stdout is not for reports');
  return {
    report: new Report({ out, err: (text) => written.push(text), colour: false }, json, terminal),
    written,
  };
}

it('shows progress on a terminal as one line that is gone in the end', () => {
  const { report, written } = reporting(false, true);
  report.progress('fetching', 0.5);
  report.progress('booting', undefined, '2 s');
  report.done();
  expect(written).toEqual(['\r\x1b[Kfetching 50 %', '\r\x1b[Kbooting 2 s', '\r\x1b[K']);
});

it('shows progress elsewhere as one plain line for each thing', () => {
  const { report, written } = reporting(false, false);
  report.progress('fetching', 0.1);
  report.progress('fetching', 0.5);
  report.progress('booting', undefined, '2 s');
  report.done();
  expect(written).toEqual(['fetching\n', 'booting\n']);
});

it('gives programs JSON lines and nothing else', () => {
  const { report, written } = reporting(true, true);
  report.progress('fetching', 0.1);
  report.say('welcome');
  report.event({ event: 'started', start: 'warm' });
  report.notice('look');
  report.done();
  expect(written.map((line) => JSON.parse(line))).toEqual([
    { schema: 1, event: 'started', start: 'warm' },
    { schema: 1, event: 'notice', message: 'look' },
  ]);
});

it('returns the carriage on a raw terminal', () => {
  const { report, written } = reporting(false, true);
  report.rawTerminal = true;
  report.notice('look');
  expect(written).toEqual(['\rvirtio: look\r\n']);
});
