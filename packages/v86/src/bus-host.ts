import type { GuestMemory } from 'virtio/memory';
import type { V86Cpu } from './emulator.ts';
import type { GuestRam } from './guest-ram.ts';
import type { Interrupts } from './interrupts.ts';

/** @internal What a machine lends to the buses in it. */
export interface BusHost {
  readonly cpu: V86Cpu;
  readonly ram: GuestRam;
  readonly memory: GuestMemory;
  readonly interrupts: Interrupts;
  /** Runs what a device does later in a task of its own: a guest that keeps a queue full must leave the page time. */
  readonly defer: (task: () => void) => void;
}
