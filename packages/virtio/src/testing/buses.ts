import { Loopback } from '../transports/loopback/loopback.ts';
import type { Bus } from './matrix.ts';

/** No bus: driver and device in one process. */
export const loopbackBus: Bus = {
  name: 'loopback',
  connect(device, { trace, onError }) {
    const transport = new Loopback(device, {
      ...(trace === undefined ? {} : { trace }),
      ...(onError === undefined ? {} : { onError }),
    });
    return { transport, core: transport.core };
  },
};

/** Every bus of the matrix. */
export const buses: readonly Bus[] = [loopbackBus];
