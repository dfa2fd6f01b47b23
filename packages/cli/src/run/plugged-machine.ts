import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { awaitsConsole } from 'virtio-node/guests';
import type { QemuGuest } from 'virtio-node/qemu';
import type { PciInterface } from '../lend/interfaces.ts';
import { deferred } from './deferred.ts';
import type { Machine, MachineEvents } from './machine.ts';
import type { NativeParts } from './native-machine.ts';
import { ServedDevices } from './served-devices.ts';
import type { NamedDevice } from './trace-writer.ts';

/** Starts QEMU with these devices, where the state goes on that is in a file. */
export type StartQemu = (
  parts: NativeParts,
  onKernelLine: (line: string) => void,
  state?: string,
) => Promise<QemuGuest>;

const nothing: NativeParts = { devices: [], functions: [] };

/**
 * A machine of QEMU's that boots without our devices and gets them when it has: QEMU saves no state of a machine with the
 * general front end of vhost-user in it, nor with one of vfio-user.
 */
export async function createPluggedMachine(
  named: readonly NamedDevice[],
  events: MachineEvents,
  pci: PciInterface | undefined,
  start: StartQemu,
): Promise<Machine> {
  const served = await ServedDevices.make(named, events, pci);
  const awaits = deferred<void>();
  let guest: QemuGuest | undefined;
  let destroyed = false;
  const begin = async (state?: string): Promise<void> => {
    const onKernelLine = (line: string): void => {
      if (line === awaitsConsole) awaits.resolve();
      else events.kernelLine(line);
    };
    guest = await start(nothing, onKernelLine, state);
    void guest.ended.then((error) => {
      if (!destroyed) events.gone(error);
    });
  };
  const started = (): QemuGuest => {
    if (guest === undefined) throw new Error('the machine was not started');
    return guest;
  };
  return {
    async run() {
      if (guest !== undefined) return guest.resume();
      await begin();
      await awaits.promise;
    },
    async plug() {
      // The guest waits for its console, the first device, and looks for the others then: so that one comes last.
      await started().plug(firstLast(served.devices), firstLast(served.functions));
    },
    state: {
      save: () =>
        withFile(async (path) => {
          await started().save(path);
          return readFile(path);
        }),
      restore: (state) =>
        withFile(async (path) => {
          await writeFile(path, state, { mode: 0o600 });
          await begin(path);
        }),
    },
    async destroy() {
      destroyed = true;
      await guest?.close();
      await served.close();
    },
  };
}

function firstLast<T>([first, ...others]: readonly T[]): T[] {
  return first === undefined ? [] : [...others, first];
}

/** Does something with a file that is gone afterwards. */
async function withFile<T>(body: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-state-'));
  try {
    return await body(join(folder, 'state'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
