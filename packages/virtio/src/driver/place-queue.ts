import type { AreaShape } from '../virtqueue/area.ts';
import { ringAreas } from '../virtqueue/create.ts';
import { legacyLayout } from '../virtqueue/legacy.ts';
import type { QueueAreas } from '../virtqueue/queue.ts';
import type { LegacyTransport } from './transport.ts';

/** Gives a place to a piece of memory; answers its address. */
type Place = (part: AreaShape) => number;

/** The three areas of a queue, each by itself. */
export function placeAreas(size: number, ring: { readonly packed: boolean }, place: Place): QueueAreas {
  const { descriptor, driver, device } = ringAreas(size, ring);
  return { size, descriptor: place(descriptor), driver: place(driver), device: place(device) };
}

/** The three areas of a legacy queue, in one piece. */
export function placeLegacy(size: number, { queueAlign }: LegacyTransport, place: Place): QueueAreas {
  const { length } = legacyLayout(0, size, queueAlign);
  return legacyLayout(place({ length, alignment: queueAlign }), size, queueAlign).areas;
}
