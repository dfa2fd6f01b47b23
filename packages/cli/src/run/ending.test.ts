import { expect, it } from 'vitest';
import { type Ending, verdictOn } from './ending.ts';

it.each<[Ending, boolean, number]>([
  [{ kind: 'exit', status: 37 }, true, 37],
  [{ kind: 'exit', status: 37 }, false, 0],
  [{ kind: 'left' }, false, 0],
  [{ kind: 'off', line: '' }, false, 0],
  [{ kind: 'off', line: '' }, true, 1],
  [{ kind: 'reboot', line: '' }, true, 1],
  [{ kind: 'panic', line: '' }, false, 1],
  [{ kind: 'signal', signal: 'SIGINT', number: 2 }, true, 130],
  [{ kind: 'unread' }, true, 141],
])('makes of %j with a command: %s the status %d', (ending, exec, status) => {
  expect(verdictOn(ending, exec).status).toBe(status);
});

it('says what the kernel said when it panicked', () => {
  expect(verdictOn({ kind: 'panic', line: 'Kernel panic - not syncing: x' }, true).notice).toContain(
    'not syncing: x',
  );
});
