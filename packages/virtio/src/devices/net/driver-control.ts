import type { OpenDevice } from '../../driver/open-device.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import { isMulticast, macAddress, macText } from '../../link/mac.ts';
import { joined } from '../../spec/joined.ts';
import type { NetFeature, net } from './spec.ts';
import {
  announceCommand,
  controlAck,
  controlClass,
  guestOffloads,
  guestOffloadsCommand,
  macCommand,
  mqCommand,
  rxCommand,
  virtio_net_ctrl,
  virtio_net_ctrl_guest_offloads,
  virtio_net_ctrl_mq_pairs_set,
  vlanCommand,
} from './spec-control.ts';

/** The switches of what a driver receives, and the command and the feature of each. */
const modes = {
  /** Everything. */
  promiscuous: { command: rxCommand.PROMISC, requires: 'CTRL_RX' },
  /** Whatever is for several. */
  allMulticast: { command: rxCommand.ALLMULTI, requires: 'CTRL_RX' },
  /** Whatever is for one. */
  allUnicast: { command: rxCommand.ALLUNI, requires: 'CTRL_RX_EXTRA' },
  noMulticast: { command: rxCommand.NOMULTI, requires: 'CTRL_RX_EXTRA' },
  noUnicast: { command: rxCommand.NOUNI, requires: 'CTRL_RX_EXTRA' },
  noBroadcast: { command: rxCommand.NOBCAST, requires: 'CTRL_RX_EXTRA' },
} as const;

/** What a driver may switch of what it receives. */
export type ReceiveMode = keyof typeof modes;

/** Offloads that a driver may switch while it runs. */
export type GuestOffload = keyof typeof guestOffloads;

/**
 * Commands of a driver to its device. Each settles when the device has done it.
 *
 * All reject with {UsageError} NOT_NEGOTIATED without the feature that they need, {HostError} IO_ERROR when the device
 * refuses, and {PeerError} BAD_RESPONSE for an answer that is none.
 */
export class NetCommands {
  readonly #device: OpenDevice<typeof net>;

  /** @internal */
  constructor(device: OpenDevice<typeof net>) {
    this.#device = device;
  }

  /**
   * Gives any command to the device; what it answers behind its acknowledgement, up to so many bytes.
   *
   * @param requires features of which one is needed
   */
  async command(
    requires: readonly NetFeature[],
    number: number,
    command: number,
    data: Uint8Array = none,
    resultLength = 0,
  ): Promise<Uint8Array> {
    if (this.#device.failure !== undefined) throw this.#device.failure;
    this.need('CTRL_VQ');
    if (!requires.some((feature) => this.#device.has(feature))) this.need(requires[0] ?? 'CTRL_VQ');
    const header = virtio_net_ctrl.encode({ class: number, command });
    const answer = await this.#device.queue('controlq').request(joined(header, data), 1 + resultLength);
    const ack = answer[0];
    if (ack === undefined) {
      const error = new PeerError('BAD_RESPONSE', 'the network device did not acknowledge a command');
      this.#device.fail(error);
      throw error;
    }
    if (ack !== controlAck.OK) {
      throw new HostError('IO_ERROR', `the network device refuses command ${command} of class ${number}`);
    }
    return answer.subarray(1);
  }

  /**
   * Switches a receive mode.
   *
   * @spec 5.1.9.5.1.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
   */
  async setMode(mode: ReceiveMode, on: boolean): Promise<void> {
    const { command, requires } = modes[mode];
    await this.command([requires], controlClass.RX, command, Uint8Array.of(on ? 1 : 0));
  }

  /**
   * Says to which addresses the driver listens beside its own, in bytes or as `52:54:00:12:34:56`; those of before are
   * forgotten.
   *
   * @spec 5.1.9.5.2.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
   */
  async setAddresses(addresses: readonly (string | Uint8Array)[]): Promise<void> {
    const macs = addresses.map(macAddress);
    const table = (of: readonly Uint8Array[]): Uint8Array => joined(this.#number32(of.length), ...of);
    const data = joined(table(macs.filter((mac) => !isMulticast(mac))), table(macs.filter(isMulticast)));
    await this.command(['CTRL_RX'], controlClass.MAC, macCommand.TABLE_SET, data);
  }

  /**
   * Changes the driver's own address: by a command, or in the configuration of a legacy device.
   *
   * @throws {UsageError} BAD_ARGUMENT for an address of several.
   */
  async setMac(given: string | Uint8Array): Promise<Uint8Array> {
    const mac = macAddress(given);
    if (isMulticast(mac))
      throw new UsageError('BAD_ARGUMENT', `net: ${macText(mac)} is an address of several`);
    if (!this.#device.has('CTRL_MAC_ADDR') && this.#device.transport.legacy !== undefined) {
      await this.#device.writeConfig('mac', mac);
    } else {
      await this.command(['CTRL_MAC_ADDR', 'CTRL_RX'], controlClass.MAC, macCommand.ADDR_SET, mac);
    }
    return mac;
  }

  /** Takes frames of a VLAN, 0 to 4095, from now on. Without the feature, frames of all are taken. */
  async addVlan(id: number): Promise<void> {
    await this.command(['CTRL_VLAN'], controlClass.VLAN, vlanCommand.ADD, this.#number16(vlanId(id)));
  }

  /** Takes frames of a VLAN no more. */
  async removeVlan(id: number): Promise<void> {
    await this.command(['CTRL_VLAN'], controlClass.VLAN, vlanCommand.DEL, this.#number16(vlanId(id)));
  }

  /**
   * Chooses what the device may leave to be done, of what was negotiated.
   *
   * @throws {UsageError} NOT_NEGOTIATED for one that was not.
   * @spec 5.1.9.5.9.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Offloads State Configuration / Setting Offloads State
   */
  async setOffloads(wanted: readonly GuestOffload[]): Promise<bigint> {
    for (const feature of wanted) this.need(feature);
    const offloads = wanted.reduce((bits, feature) => bits | (1n << BigInt(guestOffloads[feature] ?? 0)), 0n);
    const data = this.#device.encode(virtio_net_ctrl_guest_offloads, { offloads });
    await this.command(['CTRL_GUEST_OFFLOADS'], controlClass.GUEST_OFFLOADS, guestOffloadsCommand.SET, data);
    return offloads;
  }

  /**
   * @internal Says how many pairs of queues are used from now on.
   *
   * @spec 5.1.9.5.6.1 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Automatic receive steering in multiqueue mode
   */
  async setPairs(pairs: number): Promise<void> {
    const data = this.#device.encode(virtio_net_ctrl_mq_pairs_set, { virtqueue_pairs: pairs });
    await this.command(['MQ'], controlClass.MQ, mqCommand.VQ_PAIRS_SET, data);
  }

  /**
   * @internal The driver has heard that it is to make itself known.
   *
   * @spec 5.1.9.5.4.1 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending
   */
  async acknowledgeAnnounce(): Promise<void> {
    await this.command(['GUEST_ANNOUNCE'], controlClass.ANNOUNCE, announceCommand.ACK);
  }

  protected need(feature: NetFeature): void {
    if (this.#device.has(feature)) return;
    throw new UsageError('NOT_NEGOTIATED', `VIRTIO_NET_F_${feature} was not negotiated`);
  }

  #number16(value: number): Uint8Array {
    const bytes = new Uint8Array(2);
    this.#device.view(bytes).setUint16(0, value, true);
    return bytes;
  }

  #number32(value: number): Uint8Array {
    const bytes = new Uint8Array(4);
    this.#device.view(bytes).setUint32(0, value, true);
    return bytes;
  }
}

const none = new Uint8Array();

function vlanId(id: number): number {
  if (Number.isInteger(id) && id >= 0 && id <= 4095) return id;
  throw new UsageError('BAD_ARGUMENT', `net: ${id} is no VLAN: give 0 to 4095`);
}
