import type { GuardedChild } from 'virtio-node/guests';
import { connectUnix } from 'virtio-node/host';

/** Settles when a back end takes connections. */
export async function listening(child: GuardedChild, socket: string): Promise<void> {
  for (;;) {
    if (child.hasEnded) throw await child.ended;
    try {
      connectUnix(socket).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
