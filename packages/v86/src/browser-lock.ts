import { HostError } from 'virtio/errors';

/**
 * Takes something of the browser's storage for this page; the browser gives it back when the page goes. Answers how to
 * give it back before.
 *
 * @throws {HostError} IN_USE when another page has it; IO_ERROR where there are no locks.
 */
export function lockForPage(name: string, what: string): Promise<() => void> {
  if (navigator.locks === undefined) {
    throw new HostError(
      'IO_ERROR',
      'the browser keeps storage for pages from https or localhost, where it has locks',
    );
  }
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (granted) => {
        if (granted === null) throw new HostError('IN_USE', `another page has ${what} open`);
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}
