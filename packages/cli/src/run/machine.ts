import type { Tracer } from 'virtio/device';
import type { HostError, VirtioError } from 'virtio/errors';
import type { RunBus } from './buses.ts';
import type { StateKey } from './saved-states.ts';
import type { NamedDevice } from './trace-writer.ts';

/** What the user wants booted, and in how large a machine. */
export interface ImageOptions {
  /** Where the devices are, in a machine that leaves the choice. */
  readonly bus: RunBus | undefined;
  /** MiB. */
  readonly memory: number;
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  /** Added behind the kernel's command line. */
  readonly append: string;
}

/** All that a machine is made of but its devices: it can be made as often as it is wanted. */
export interface MachineImage {
  /** How to call what it boots. */
  readonly name: string;
  /** False when the initramfs is the user's, whose init may not know our control protocol. */
  readonly ours: boolean;
  /** Makes a machine that does not run yet. */
  readonly create: (devices: readonly NamedDevice[], events: MachineEvents) => Promise<Machine>;
  /** All that its state after boot depends on; absent for machines whose state cannot be had. */
  readonly stateKey?: (devices: readonly NamedDevice[]) => StateKey;
}

/** Who hears of what happens in a machine. */
export interface MachineEvents {
  /** A line of the kernel's own console without its end. */
  readonly kernelLine: (line: string) => void;
  readonly deviceError: (device: string, error: VirtioError, needsReset: boolean) => void;
  /** It ended without a word of its kernel's. */
  readonly gone: (error: HostError) => void;
  /** The tracer of the device of this name; absent when nobody looks. */
  readonly tracer?: ((device: string) => Tracer) | undefined;
}

/** A machine with our devices in it. One kind of machine is one function that makes such an object. */
export interface Machine {
  /**
   * Lets it run from its first instruction, or from a restored state. Where devices are plugged in later this settles when
   * it has booted that far.
   */
  run(): Promise<void>;
  /** Puts its devices in, when it has booted; absent where they are in it from the start. */
  plug?(): Promise<void>;
  /** Ends it and lets go of its devices. */
  destroy(): Promise<void>;
  /** Absent for machines whose state cannot be had. */
  readonly state?: MachineState;
}

/** The state of a machine, with all devices that are in it. */
export interface MachineState {
  /** All of it; the machine stands still meanwhile. It can be restored into a machine of the same parts. */
  save(): Promise<Uint8Array>;
  /**
   * Takes a saved state, before `run`.
   *
   * @throws when the state does not fit; the machine is then of no more use.
   */
  restore(state: Uint8Array): Promise<void>;
}
