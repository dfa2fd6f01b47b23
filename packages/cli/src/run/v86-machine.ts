import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { V86, type V86Image } from 'v86';
import { KernelLines } from 'virtio-node/guests';
import { attach } from 'virtio-v86';
import { versionOf } from '../version.ts';
import type { RunBus } from './buses.ts';
import type { Machine, MachineEvents } from './machine.ts';
import type { NamedDevice } from './trace-writer.ts';
import { busInitrd, needsAcpi, v86Bus } from './v86-buses.ts';

/** What a machine of v86's is made of beside its devices. */
export interface V86Parts {
  /** Where all devices are. */
  readonly bus: RunBus;
  /** MiB. */
  readonly memory: number;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly firmware: { readonly bios: Uint8Array; readonly vgaBios: Uint8Array };
}

/** What a saved state depends on beside the parts of the machine. */
export function v86Version(): string {
  return versionOf(new URL('../package.json', import.meta.resolve('v86'))) ?? 'unknown';
}

/** A PC emulated by v86, in this process, with the devices on one of its buses. */
export async function createV86Machine(
  parts: V86Parts,
  devices: readonly NamedDevice[],
  events: MachineEvents,
): Promise<Machine> {
  const initrd = busInitrd(parts.bus, devices.length, parts.initrd);
  const emulator = new V86({
    wasm_path: fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86'))),
    memory_size: parts.memory * 2 ** 20,
    vga_memory_size: 2 ** 20,
    bios: image(parts.firmware.bios),
    vga_bios: image(parts.firmware.vgaBios),
    bzimage: image(parts.kernel),
    ...(initrd === undefined ? {} : { initrd: image(initrd) }),
    cmdline: parts.commandLine,
    acpi: needsAcpi(parts.bus),
    autostart: false,
    disable_speaker: true,
  });
  const lines = new KernelLines(events.kernelLine);
  emulator.add_listener('serial0-output-byte', (byte) => lines.push([byte]));
  const attached = devices.map(({ name, device }) => {
    const trace = events.tracer?.(name);
    return attach(emulator, device, {
      bus: v86Bus(parts.bus),
      onError: (error, needsReset) => events.deviceError(name, error, needsReset),
      ...(trace === undefined ? {} : { trace }),
    });
  });
  await Promise.all(attached.map(({ ready }) => ready));

  return {
    run: () => emulator.run(),
    state: {
      async save() {
        await emulator.stop();
        const state = new Uint8Array(await emulator.save_state());
        await emulator.run();
        return state;
      },
      // v86 keeps views on the buffer and wants it aligned, so it gets one of its own.
      restore: (state) => emulator.restore_state(ownBuffer(state)),
    },
    async destroy() {
      // An emulator that failed in the middle of an instruction never says that it has stopped.
      await Promise.race([emulator.stop(), setTimeout(stopPatience, undefined, { ref: false })]);
      for (const attachment of attached) attachment.detach();
      void emulator.destroy();
    },
  };
}

/** Milliseconds. */
const stopPatience = 1000;

function image(bytes: Uint8Array): V86Image {
  return { buffer: ownBuffer(bytes) };
}

function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  if (bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength)
    return bytes.buffer;
  return new Uint8Array(bytes).buffer;
}
