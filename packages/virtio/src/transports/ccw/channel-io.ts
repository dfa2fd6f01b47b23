import type { Allocator } from '../../memory/allocator.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';

/** The condition code of an I/O instruction: 0 to 3, with the instruction's own meaning. */
export type ConditionCode = 0 | 1 | 2 | 3;

/** What the machine tells a program without being asked. Nothing may be thrown from here. */
export interface ChannelIoListener {
  /**
   * An I/O interruption of a subchannel, with its interruption parameter: the last that it was given, in an ORB or in
   * its PMCW. What has happened is told by TEST SUBCHANNEL, and may be gone by then.
   */
  subchannel(schid: number, parameter: number): void;
  /** An adapter interruption of an interruption subclass, 0 to 7. What has happened is told by indicators. */
  adapter(isc: number): void;
  /** The machine is gone: its socket died, its process ended. */
  gone?(error: Error): void;
}

/**
 * The I/O instructions as an operating system issues them: over a real machine, over an emulator, in process.
 * Operands are guest absolute addresses, word-aligned, and subsystem identification words (`schid`: 0x0001 in the
 * upper half, the subchannel number in the lower one, as general register 1 has it). Answers are condition codes.
 * Methods reject with HostError DEVICE_GONE when the machine is no longer there.
 */
export interface ChannelIo {
  /** Memory that both the driver and the channel subsystem can reach, by absolute addresses. */
  readonly memory: GuestMemory;
  /** The driver's part of that memory. All of it lies below 2^31, since CCWs hold 31 bits of an address. */
  readonly allocator: Allocator;

  /** SSCH with the ORB at `orb`. 0: started; 1: status pending; 2: busy; 3: not operational. */
  startSubchannel(schid: number, orb: number): Promise<number>;
  /** TSCH to the IRB at `irb`. 0: status was pending, and is cleared; 1: none was, the SCSW is stored alone; 3: not operational. */
  testSubchannel(schid: number, irb: number): Promise<number>;
  /** STSCH to the SCHIB at `schib`. 0: stored; 3: there is no such subchannel, nor one behind it. */
  storeSubchannel(schid: number, schib: number): Promise<number>;
  /** MSCH from the SCHIB at `schib`. 0: done; 1: status pending; 2: busy; 3: not operational. */
  modifySubchannel(schid: number, schib: number): Promise<number>;
  /** HSCH. 0: begun, its end is an interruption; 1: status pending; 2: busy; 3: not operational. */
  haltSubchannel(schid: number): Promise<number>;
  /** CSCH. 0: begun, its end is an interruption; 3: not operational. */
  clearSubchannel(schid: number): Promise<number>;

  /**
   * DIAGNOSE 0x500 with subcode 3, virtio's available buffer notification. It is on its way, and in order with the
   * others, when the call returns. `data` is what general register 3 holds, 32 bits: the queue's index, or the
   * notification data. Settles with general register 2, signed: the cookie for the next call of the same queue, or
   * a negative number when there is no such subchannel or queue.
   */
  notify(schid: number, data: number, cookie: bigint): Promise<bigint>;

  /**
   * Starts the flow of interruptions to one more listener, and gives what stops it. Each hears all of them, since the
   * machine has several devices; those from before it are lost.
   */
  listen(listener: ChannelIoListener): () => void;
}
