import { Loopback } from '../transports/loopback/loopback.ts';
import type { Bus } from './matrix.ts';

/** No bus: driver and device in one process. */
export const loopbackBus: Bus = {
  name: 'loopback',
  async connect(device, options) {
    const transport = new Loopback(device, options);
    return { transport, core: transport.core };
  },
};

/** Every bus of the matrix. */
export const buses: readonly Bus[] = [loopbackBus];
