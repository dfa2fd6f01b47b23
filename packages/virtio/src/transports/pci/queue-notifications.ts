import type { FunctionLayout } from './function-layout.ts';
import type { PciFunctionOptions, QueueNotification } from './options.ts';

/** A notification that tells nothing but its queue is 16 bits wide. */
const width = 2;

/** Where drivers notify the queues of a function, and of what they write there that which names the queue alone. */
export function queueNotifications(
  queues: readonly number[],
  { notifyPlaces }: FunctionLayout,
  { legacy, notifConfigData, notifyMultiplier = 4, queueNotifyOff = (queue) => queue }: PciFunctionOptions,
): QueueNotification[] {
  const modern = notifConfigData !== undefined ? [] : notifyPlaces;
  const old = legacy?.bar.kind === 'io' ? [{ bar: legacy.bar.bar, offset: legacy.notifyOffset }] : [];
  return queues.flatMap((queue) => [
    ...modern.map(({ bar, offset }) => ({
      bar,
      offset: offset + queueNotifyOff(queue) * notifyMultiplier,
      width,
      value: queue,
    })),
    ...old.map((place) => ({ ...place, width, value: queue })),
  ]);
}
