import type { Chain } from '../virtqueue/chain.ts';
import type { ActiveQueue, ServeHandler } from './active-queue.ts';
import { attempt } from './attempt.ts';
import type { QueuePolling } from './polling.ts';

/** Bytes of buffers that are served before others have their turn: a driver may offer the same gigabytes again and again. */
const mostBytesAtOnce = 64 * 2 ** 20;

/**
 * Lets the device have what is available in a queue: as many chains as it holds or 64 MiB of them, then yields. True when
 * a queue whose chains are served ran empty. The driver is asked to notify again then, unless the host looks by itself.
 */
export function serveQueue(queue: ActiveQueue, polling: QueuePolling | undefined): boolean {
  queue.wake();
  const { serve, available } = queue.place;
  if (available !== undefined) queue.batch(() => available(queue));
  if (serve === undefined) return false;
  queue.quiet = polling !== undefined;
  queue.ring.disableNotifications();
  let budget = queue.ring.size;
  let bytes = mostBytesAtOnce;
  queue.batch(() => {
    for (; budget > 0 && bytes > 0; budget--) {
      const chain = queue.take();
      if (chain === undefined) break;
      bytes -= chain.totalLength;
      serveChain(queue, chain, serve);
      polling?.served(queue, chain);
    }
  });
  if (budget > 0 && bytes > 0) return true;
  queue.processLater();
  return false;
}

function serveChain(queue: ActiveQueue, chain: Chain, serve: ServeHandler): void {
  attempt(
    () => {
      const settled = serve(chain, queue);
      return settled === undefined ? queue.complete(chain) : settled.then(() => queue.complete(chain));
    },
    (error) => queue.owner.failed(queue, error),
  );
}
