import type { NativeGuest, VhostUserDevice } from 'virtio-node/guests';
import type { PciInterface } from '../lend/interfaces.ts';
import type { Machine, MachineEvents } from './machine.ts';
import { ServedDevices } from './served-devices.ts';
import type { NamedDevice } from './trace-writer.ts';

/** The devices of a guest that is a process beside us: over vhost-user, or sockets of whole PCI functions. */
export interface NativeParts {
  readonly devices: readonly VhostUserDevice[];
  readonly functions: readonly string[];
}

/** Starts a guest that is a process beside us, with these devices. */
export type StartNative = (parts: NativeParts, onKernelLine: (line: string) => void) => Promise<NativeGuest>;

/** A guest in a process of its own, to which this process serves the devices. */
export async function createNativeMachine(
  named: readonly NamedDevice[],
  events: MachineEvents,
  pci: PciInterface | undefined,
  start: StartNative,
): Promise<Machine> {
  const served = await ServedDevices.make(named, events, pci);
  let guest: NativeGuest | undefined;
  let destroyed = false;
  return {
    async run() {
      guest = await start(served, events.kernelLine);
      void guest.ended.then((error) => {
        if (!destroyed) events.gone(error);
      });
    },
    async destroy() {
      destroyed = true;
      await guest?.close();
      await served.close();
    },
  };
}
