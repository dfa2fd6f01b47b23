import { Loopback } from '../transports/loopback/loopback.ts';
import { connectPci } from '../transports/pci/connect.ts';
import type { Bus } from './matrix.ts';

/** No bus: driver and device in one process. */
export const loopbackBus: Bus = {
  name: 'loopback',
  async connect(device, options) {
    return { transport: new Loopback(device, options) };
  },
};

/** A PCI bus with one function on it, which is found and set up by its capabilities, with MSI-X. */
export const pciBus: Bus = {
  name: 'pci',
  async connect(device, options) {
    return { transport: (await connectPci(device, options)).transport };
  },
};

/** Every bus of the matrix. */
export const buses: readonly Bus[] = [loopbackBus, pciBus];
