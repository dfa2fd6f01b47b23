import { buses, loopbackBus, pciBus } from 'virtio/testing';

/** The buses that the quick suite runs the whole matrix on: none, and the one with the most registers. */
export const quickBuses = [loopbackBus, pciBus];

/** All others: `npm test` runs them as well. */
export const otherBuses = buses.filter((bus) => !quickBuses.includes(bus));
