import type { ControlClass } from './control.ts';
import { netStatus } from './spec.ts';
import { announceCommand, guestOffloadsCommand, negotiatedOffloads } from './spec-control.ts';
import { takenOf } from './spec-offload.ts';
import type { NetControls } from './state.ts';

/**
 * The driver has heard that it is to make itself known.
 *
 * @spec 5.1.9.5.4.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending
 */
export const announceClass = (controls: NetControls): ControlClass => ({
  requires: ['GUEST_ANNOUNCE'],
  handle(command) {
    if (command !== announceCommand.ACK) return false;
    controls.setStatus(netStatus.ANNOUNCE, false);
    return true;
  },
});

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
