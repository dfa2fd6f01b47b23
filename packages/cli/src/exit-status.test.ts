import { HostError, PeerError, UsageError } from 'virtio/errors';
import { expect, it } from 'vitest';
import { exitStatus, explain, lacking, usage } from './exit-status.ts';

it.each([
  [usage('no such file'), exitStatus.usage, 'no such file'],
  [lacking('no apt\nuse your own'), exitStatus.environment, 'no apt | use your own'],
  [new HostError('IN_USE', 'disk is in use'), exitStatus.usage, 'disk is in use'],
  [
    new HostError('NO_SPACE', 'cannot write', { cause: new Error('ENOSPC') }),
    exitStatus.environment,
    'cannot write: ENOSPC',
  ],
  [
    Object.assign(new Error('EACCES: permission denied, mkdir'), { code: 'EACCES', syscall: 'mkdir' }),
    exitStatus.environment,
    'this machine refuses: EACCES',
  ],
  [
    new PeerError('BAD_MESSAGE', 'there is no message 7', undefined),
    exitStatus.findings,
    /^there is no message 7$/,
  ],
  [new UsageError('BAD_STATE', 'attached'), exitStatus.internal, /fault of our own \(BAD_STATE\): attached/],
  [new TypeError('x is not a function'), exitStatus.internal, /fault of our own: x is not a function/],
  ['a string', exitStatus.internal, /fault of our own: a string/],
])('explains %s by a status and one line', (error, status, message) => {
  const explained = explain(error);
  expect(explained.status).toBe(status);
  expect(explained.message).toMatch(message);
  expect(explained.message).not.toContain('\n');
});
