import type { Tracer } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import type { RunBus } from './buses.ts';
import type { NamedDevice } from './trace-writer.ts';

/** What a machine is made of, whatever emulates it. */
export interface MachineParts {
  /** Where all devices are. */
  readonly bus: RunBus;
  readonly devices: readonly NamedDevice[];
  /** MiB. */
  readonly memory: number;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
  readonly commandLine: string;
  readonly firmware: { readonly bios: Uint8Array; readonly vgaBios: Uint8Array };
}

/** Who hears of what happens in a machine. */
export interface MachineEvents {
  /** A line of the kernel's own console, the first serial port, without its end. */
  readonly kernelLine: (line: string) => void;
  readonly deviceError: (device: string, error: VirtioError, needsReset: boolean) => void;
  /** The tracer of the device of this name; absent when nobody looks. */
  readonly tracer?: ((device: string) => Tracer) | undefined;
}

/** A machine with our devices in it. One kind of emulator is one function that makes such an object. */
export interface Machine {
  /** Lets it run from where it is: its first instruction, a restored state, or where it was paused. */
  run(): Promise<void>;
  pause(): Promise<void>;
  /** All of a paused machine, its devices included; it can be restored into a machine of the same parts. */
  save(): Promise<Uint8Array>;
  /**
   * Takes a saved state, before the first `run`.
   *
   * @throws when the state does not fit; the machine is then of no more use.
   */
  restore(state: Uint8Array): Promise<void>;
  /** Ends it and lets go of its devices. */
  destroy(): Promise<void>;
}
