import type { NetTimer } from 'virtio/devices/net';

/** For network devices that hold back notifications: Node's own timers, whose unit is a millisecond. */
export const netTimer: NetTimer = (microseconds, due) => {
  const timer = setTimeout(due, microseconds / 1000);
  return () => clearTimeout(timer);
};
