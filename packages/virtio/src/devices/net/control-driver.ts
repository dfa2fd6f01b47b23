import type { ControlClass } from './control.ts';
import { FlowSteering } from './flow-steering.ts';
import { netStatus } from './spec.ts';
import { announceCommand, guestOffloadsCommand, mqCommand, negotiatedOffloads } from './spec-control.ts';
import { takenOf } from './spec-offload.ts';
import type { NetControls, NetSession } from './state.ts';
import { firstQueue } from './steering.ts';

/**
 * The driver has heard that it is to make itself known.
 *
 * @spec 5.1.9.5.4.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending
 */
export const announceClass = (controls: NetControls): ControlClass => ({
  requires: ['GUEST_ANNOUNCE'],
  handle(command) {
    if (command !== announceCommand.ACK) return false;
    const { status } = controls.config;
    if ((status & netStatus.ANNOUNCE) !== 0) controls.updateConfig({ status: status & ~netStatus.ANNOUNCE });
    return true;
  },
});

/** How a driver asks for a way of steering. Each command of the class MQ is one; the last that was given counts. */
export interface SteeringCommand {
  handle(data: Parameters<ControlClass['handle']>[1], session: NetSession): boolean;
}

/**
 * How many queues are used, and how frames are spread over them.
 *
 * @spec 5.1.9.5.6.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
 */
export const mqClass = (
  controls: NetControls,
  others: Readonly<Record<number, SteeringCommand>> = {},
): ControlClass => {
  const use = (pairs: number): void => {
    controls.pairs = pairs;
    controls.steering = pairs === 1 ? firstQueue : new FlowSteering(pairs);
  };
  return {
    requires: ['MQ', 'RSS', 'HASH_REPORT'],
    begin: () => use(1),
    reset: () => use(1),
    handle(command, data, session) {
      if (command !== mqCommand.VQ_PAIRS_SET) return others[command]?.handle(data, session) ?? false;
      if (!session.has('MQ')) return false;
      const pairs = data.u16();
      if (pairs < 1 || pairs > controls.config.max_virtqueue_pairs) return false;
      use(pairs);
      return true;
    },
    save: () => controls.pairs,
    restore: (pairs) => use(typeof pairs === 'number' ? pairs : 1),
  };
};

/** What the driver takes unfinished: at first all that was negotiated. */
export const guestOffloadsClass = (controls: NetControls): ControlClass => {
  let offloads = 0n;
  const use = (wanted: bigint): void => {
    offloads = wanted;
    controls.takes = takenOf(wanted);
  };
  return {
    requires: ['CTRL_GUEST_OFFLOADS'],
    begin: (session) => use(negotiatedOffloads((feature) => session.has(feature))),
    reset: () => use(0n),
    handle(command, data, session) {
      if (command !== guestOffloadsCommand.SET) return false;
      const [first, second] = [BigInt(data.u32()), BigInt(data.u32())];
      const wanted = session.endian === 'little' ? (second << 32n) | first : (first << 32n) | second;
      if ((wanted & ~negotiatedOffloads((feature) => session.has(feature))) !== 0n) return false;
      use(wanted);
      return true;
    },
    save: () => offloads.toString(16),
    restore: (saved) => use(typeof saved === 'string' ? BigInt(`0x${saved}`) : 0n),
  };
};
