import type { Device, DeviceBehaviour } from '../../device/device.ts';
import { sample, sampleDevice } from './ccw.fixture.ts';
import { ccw1, orb } from './ccw.ts';
import type { ChannelIo } from './channel-io.ts';
import type { ChannelSubsystem } from './channel-subsystem.ts';
import { commandName } from './commands.ts';
import { type ConnectCcwOptions, joinCcw } from './connect.ts';
import { CcwTransport, type CcwTransportOptions } from './driver.ts';
import { irb } from './status.ts';

/** A channel command that a driver issued. */
export interface Issued {
  readonly name: string;
  readonly count: number;
  readonly flags: number;
  /** The command's data, as they were when it was issued. */
  readonly data: readonly number[];
}

/** What stands between a driver and the subchannel: it sees every command, and may change what comes back. */
export interface Tap {
  /** The condition code of an instruction, instead of carrying it out. */
  readonly cc?: (instruction: keyof ChannelIo) => number | undefined;
  /** Changes the IRB of a command's end in guest memory. */
  readonly irb?: (view: DataView, last: Issued | undefined) => void;
  /** Changes the data of a command in guest memory, when it has ended. */
  readonly data?: (bytes: Uint8Array, last: Issued) => void;
  /** What a notification settles with. */
  readonly cookie?: (cookie: bigint) => bigint;
}

/** A driver's way to a sample device, with a tap in it. */
export interface Tapped {
  readonly io: ChannelIo;
  readonly subsystem: ChannelSubsystem;
  readonly schid: number;
  readonly device: Device<typeof sample>;
  readonly issued: Issued[];
  readonly notified: { readonly data: number; readonly cookie: bigint }[];
  /** What the device named as wrong. */
  readonly errors: string[];
  open(options?: CcwTransportOptions): Promise<CcwTransport>;
}

export function tapped(
  tap: Tap = {},
  options: ConnectCcwOptions = {},
  behaviour: DeviceBehaviour<typeof sample> = {},
): Tapped {
  const issued: Issued[] = [];
  const notified: { data: number; cookie: bigint }[] = [];
  const errors: string[] = [];
  const device = sampleDevice({ serve: { first: () => {} }, ...behaviour });
  const joined = joinCcw(device, { ...options, onError: (error) => void errors.push(error.message) });
  const { io: inner, subsystem, schid } = joined;
  const { memory } = inner;
  const viewOf = (at: number, length: number): DataView => new DataView(memory.read(at, length).buffer);
  let cda = 0;
  const io: ChannelIo = {
    ...inner,
    async startSubchannel(id, at) {
      const refused = tap.cc?.('startSubchannel');
      if (refused !== undefined) return refused;
      const word = ccw1.read(viewOf(orb.read(viewOf(at, orb.size)).cpa, ccw1.size));
      cda = word.cda;
      const data = [...memory.read(cda, word.count)];
      issued.push({ name: commandName(word.cmd_code) ?? '?', count: word.count, flags: word.flags, data });
      return await inner.startSubchannel(id, at);
    },
    async testSubchannel(id, at) {
      const cc = tap.cc?.('testSubchannel') ?? (await inner.testSubchannel(id, at));
      if (cc !== 0) return cc;
      const last = issued.at(-1);
      if (last !== undefined && tap.data !== undefined) {
        const bytes = memory.read(cda, last.count);
        tap.data(bytes, last);
        memory.write(cda, bytes);
      }
      if (tap.irb !== undefined) {
        const view = viewOf(at, irb.size);
        tap.irb(view, last);
        memory.write(at, new Uint8Array(view.buffer));
      }
      return cc;
    },
    storeSubchannel: async (id, at) => tap.cc?.('storeSubchannel') ?? (await inner.storeSubchannel(id, at)),
    modifySubchannel: async (id, at) =>
      tap.cc?.('modifySubchannel') ?? (await inner.modifySubchannel(id, at)),
    async notify(id, data, cookie) {
      notified.push({ data, cookie });
      const answer = await inner.notify(id, data, cookie);
      return tap.cookie?.(answer) ?? answer;
    },
  };
  return {
    ...{ io, subsystem, schid, device, issued, notified, errors },
    open: (own = {}) => CcwTransport.open(io, schid, { ...options, ...own }),
  };
}

export { sample };
