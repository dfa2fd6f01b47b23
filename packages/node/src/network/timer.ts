import type { NetTimer } from 'virtio/devices/net';

/** Node's own timers know no less than a millisecond. */
const least = 1000;

/**
 * For network devices that hold back notifications: Node's own timers. What is due in less than a millisecond is done in the next
 * turn of the event loop.
 */
export const netTimer: NetTimer = (microseconds, due) => {
  if (microseconds < least) {
    const soon = setImmediate(due);
    return () => clearImmediate(soon);
  }
  const timer = setTimeout(due, microseconds / 1000);
  return () => clearTimeout(timer);
};
