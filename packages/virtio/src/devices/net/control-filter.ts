import { PeerError } from '../../errors.ts';
import { isMulticast } from '../../link/mac.ts';
import type { ReadableCursor } from '../../virtqueue/readable-cursor.ts';
import type { ControlClass } from './control.ts';
import type { ReceiveFilter, ReceiveModes } from './receive-filter.ts';
import { macCommand, rxCommand, vlanCommand } from './spec-control.ts';
import type { NetControls } from './state.ts';

/** The switch of each command, and the feature that has it. */
const modeOf: Readonly<Record<number, { mode: keyof ReceiveModes; requires: 'CTRL_RX' | 'CTRL_RX_EXTRA' }>> =
  {
    [rxCommand.PROMISC]: { mode: 'promiscuous', requires: 'CTRL_RX' },
    [rxCommand.ALLMULTI]: { mode: 'allMulticast', requires: 'CTRL_RX' },
    [rxCommand.ALLUNI]: { mode: 'allUnicast', requires: 'CTRL_RX_EXTRA' },
    [rxCommand.NOMULTI]: { mode: 'noMulticast', requires: 'CTRL_RX_EXTRA' },
    [rxCommand.NOUNI]: { mode: 'noUnicast', requires: 'CTRL_RX_EXTRA' },
    [rxCommand.NOBCAST]: { mode: 'noBroadcast', requires: 'CTRL_RX_EXTRA' },
  };

/**
 * Receive modes.
 *
 * @spec 5.1.9.5.1.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
 */
export const rxClass = (filter: ReceiveFilter): ControlClass => ({
  requires: ['CTRL_RX', 'CTRL_RX_EXTRA'],
  begin: (session) => {
    filter.byAddress = session.has('CTRL_RX');
    filter.byVlan = session.has('CTRL_VLAN');
  },
  handle(command, data, session) {
    const known = modeOf[command];
    if (known === undefined || !session.has(known.requires)) return false;
    const on = data.u8();
    if (on > 1) return false;
    filter.modes[known.mode] = on === 1;
    return true;
  },
  save: () => filter.save(),
  restore: (state) => filter.restore(state),
});

/**
 * The addresses that the driver listens to. What is in force changes before the command is given back.
 *
 * @spec 5.1.9.5.2.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
 */
export const macClass = (filter: ReceiveFilter, controls: NetControls): ControlClass => ({
  requires: ['CTRL_RX', 'CTRL_MAC_ADDR'],
  handle(command, data, session) {
    if (command === macCommand.TABLE_SET && session.has('CTRL_RX')) {
      filter.setTables(readTable(data), readTable(data));
      return true;
    }
    if (command !== macCommand.ADDR_SET) return false;
    const mac = data.bytes(6);
    if (isMulticast(mac)) return false;
    filter.mac.set(mac);
    if (session.has('MAC')) controls.updateConfig({ mac });
    return true;
  },
});

/** @throws {PeerError} BAD_REQUEST for a table that is not all there. */
function readTable(data: ReadableCursor): Uint8Array[] {
  const entries = data.u32();
  if (entries > data.remaining / 6) {
    throw new PeerError('BAD_REQUEST', `${entries} addresses are needed, and there are fewer`);
  }
  const macs: Uint8Array[] = [];
  for (let i = 0; i < entries; i++) macs.push(data.bytes(6));
  return macs;
}

/**
 * The VLANs that the driver is in.
 *
 * @spec 5.1.9.5.3.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering
 */
export const vlanClass = (filter: ReceiveFilter): ControlClass => ({
  requires: ['CTRL_VLAN'],
  handle(command, data) {
    if (command !== vlanCommand.ADD && command !== vlanCommand.DEL) return false;
    const id = data.u16();
    if (id > 0xfff) return false;
    filter.setVlan(id, command === vlanCommand.ADD);
    return true;
  },
});
