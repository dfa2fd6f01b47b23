import { describe, expect, it } from 'vitest';
import { finished } from '../../link/offload.ts';
import { type NetDevice, netDevice } from './device.ts';
import { broadcast, Far, frameOf, RawGuest } from './raw-guest.fixture.ts';
import { type NetFeature, netStatus } from './spec.ts';
import { controlClass, macCommand, rxCommand, vlanCommand } from './spec-control.ts';

const own = [0x52, 0x54, 0, 0, 0, 1];
const other = [0x52, 0x54, 0, 0, 0, 2];
const group = [0x33, 0x33, 0, 0, 0, 1];

const features: readonly NetFeature[] = [
  ...(['MAC', 'STATUS', 'CTRL_VQ', 'CTRL_RX', 'CTRL_RX_EXTRA', 'CTRL_MAC_ADDR', 'CTRL_VLAN'] as const),
  ...(['GUEST_ANNOUNCE', 'GUEST_CSUM', 'GUEST_TSO4', 'GUEST_USO6', 'CTRL_GUEST_OFFLOADS'] as const),
];

interface Joined {
  readonly device: NetDevice;
  readonly far: Far;
  readonly guest: RawGuest;
}

async function joined(negotiated: readonly NetFeature[] = features): Promise<Joined> {
  const device = netDevice({ mac: Uint8Array.from(own) });
  const far = new Far(device.endpoint);
  const guest = await RawGuest.open(device, negotiated);
  guest.give(100);
  return { device, far, guest };
}

/** Whether the driver is given a frame to an address, or of a VLAN. */
function hears({ device, far }: Joined, to: readonly number[], vlan?: number): boolean {
  const before = device.received[0]!.packets;
  const frame = frameOf(64, 0, to);
  if (vlan !== undefined) frame.set([0x81, 0, 0xe0 | (vlan >>> 8), vlan & 0xff], 12);
  expect(far.device.receive(frame, finished)).toBe(true);
  return device.received[0]!.packets > before;
}

const heard = (one: Joined): boolean[] => [own, other, group, broadcast].map((to) => hears(one, to));

/** How a command ended: 0 for done. */
async function ack(
  { guest }: Joined,
  number: number,
  command: number,
  data: readonly number[] = [],
): Promise<number> {
  const answer = await guest.command(number, command, data);
  expect(answer.length).toBe(1);
  return answer[0]!;
}

const set = (one: Joined, mode: number, on: boolean): Promise<number> =>
  ack(one, controlClass.RX, mode, [on ? 1 : 0]);

describe('receive filtering', () => {
  // @holds 5.1.9.5.1.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Packet Receive Filtering
  it('lets through what the modes say', async () => {
    const one = await joined();
    expect(heard(one)).toEqual([true, false, false, true]);
    for (const [mode, expected] of [
      [rxCommand.PROMISC, [true, true, true, true]],
      [rxCommand.ALLMULTI, [true, false, true, true]],
      [rxCommand.ALLUNI, [true, true, false, true]],
      [rxCommand.NOUNI, [false, false, false, true]],
      [rxCommand.NOBCAST, [true, false, false, false]],
    ] as const) {
      expect(await set(one, mode, true)).toBe(0);
      expect(heard(one)).toEqual(expected);
      expect(await set(one, mode, false)).toBe(0);
      expect(heard(one)).toEqual([true, false, false, true]);
    }
    await set(one, rxCommand.ALLMULTI, true);
    await set(one, rxCommand.NOMULTI, true);
    await set(one, rxCommand.ALLUNI, true);
    await set(one, rxCommand.NOUNI, true);
    await set(one, rxCommand.NOBCAST, true);
    expect(heard(one)).toEqual([false, false, false, false]);
    await set(one, rxCommand.PROMISC, true);
    expect(heard(one)).toEqual([true, true, true, true]);
    expect(one.guest.errors).toEqual([]);
  });

  it('refuses what it does not know, or was not negotiated, and lives on', async () => {
    const one = await joined(['CTRL_VQ', 'CTRL_RX']);
    expect(await set(one, rxCommand.PROMISC, true)).toBe(0);
    for (const mode of [rxCommand.ALLUNI, rxCommand.NOMULTI, rxCommand.NOUNI, rxCommand.NOBCAST, 6, 255]) {
      expect(await set(one, mode, true)).toBe(1);
    }
    expect(await ack(one, controlClass.RX, rxCommand.PROMISC, [2])).toBe(1);
    expect(await ack(one, controlClass.RX, rxCommand.PROMISC)).toBe(1);
    for (const number of [
      controlClass.VLAN,
      controlClass.ANNOUNCE,
      controlClass.MQ,
      controlClass.GUEST_OFFLOADS,
    ]) {
      expect(await ack(one, number, 0, [1, 0, 0, 0, 0, 0, 0, 0])).toBe(1);
    }
    for (const number of [100, 255]) expect(await ack(one, number, 0)).toBe(1);
    expect(await set(one, rxCommand.PROMISC, false)).toBe(0);
    expect(one.guest.errors).toEqual([]);
  });

  it('breaks its queue for a command without room for an answer, or that is none', async () => {
    for (const [length, room] of [
      [2, 0],
      [1, 1],
    ] as const) {
      const { guest } = await joined();
      const failed = guest.opened.queue('controlq').request(new Uint8Array(length), room);
      await expect(failed).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
      expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
    }
  });

  it('is off where the driver cannot say what it wants', async () => {
    expect(heard(await joined(['MAC']))).toEqual([true, true, true, true]);
  });
});

describe('addresses', () => {
  // @holds 5.1.9.5.2.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
  it('are those of the tables that the driver gave, none after a reset', async () => {
    const one = await joined();
    const tables = [1, 0, 0, 0, ...other, 1, 0, 0, 0, ...group];
    expect(await ack(one, controlClass.MAC, macCommand.TABLE_SET, tables)).toBe(0);
    expect(heard(one)).toEqual([true, true, true, true]);
    expect(await ack(one, controlClass.MAC, macCommand.TABLE_SET, [0, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
    expect(heard(one)).toEqual([true, false, false, true]);
    await ack(one, controlClass.MAC, macCommand.TABLE_SET, tables);
    await one.guest.opened.close();
    const guest = await RawGuest.open(one.device, features);
    guest.give(20);
    expect(heard({ ...one, guest })).toEqual([true, false, false, true]);
    expect(one.guest.errors).toEqual([]);
  });

  it('stay when a table is not all there', async () => {
    const one = await joined();
    await ack(one, controlClass.MAC, macCommand.TABLE_SET, [1, 0, 0, 0, ...other, 0, 0, 0, 0]);
    for (const tables of [
      [],
      [1, 0, 0],
      [0xff, 0xff, 0xff, 0xff, ...other],
      [1, 0, 0, 0, ...group],
      [1, 0, 0, 0, ...group, 1, 0, 0, 0],
    ]) {
      expect(await ack(one, controlClass.MAC, macCommand.TABLE_SET, tables)).toBe(1);
      expect(heard(one)).toEqual([true, true, false, true]);
    }
  });

  it('are all, when there are more than can be told apart', async () => {
    const one = await joined();
    const many = Array.from({ length: 1025 }, (_, i) => [2, 0, 0, 0, i >>> 8, i & 0xff]).flat();
    const tables = [1025 & 0xff, 1025 >>> 8, 0, 0, ...many, 0, 0, 0, 0];
    expect(await ack(one, controlClass.MAC, macCommand.TABLE_SET, tables)).toBe(0);
    expect(heard(one)).toEqual([true, true, false, true]);
  });

  // @holds 5.1.9.5.2.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
  it('of the driver itself are in the configuration before the command is used', async () => {
    const one = await joined();
    const answered = one.guest.command(controlClass.MAC, macCommand.ADDR_SET, other);
    expect([...one.device.config.mac]).toEqual(other);
    expect(await answered).toEqual(Uint8Array.of(0));
    expect(heard(one)).toEqual([false, true, false, true]);
    expect(await ack(one, controlClass.MAC, macCommand.ADDR_SET, group)).toBe(1);
    expect(await ack(one, controlClass.MAC, macCommand.ADDR_SET, own.slice(1))).toBe(1);
    expect(await ack(one, controlClass.MAC, 2, own)).toBe(1);
    await one.guest.opened.close();
    expect([...one.device.config.mac]).toEqual(own);
  });
});

describe('VLANs', () => {
  // @holds 5.1.9.5.3.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering
  it('are those that the driver is in', async () => {
    const one = await joined();
    expect([5, 0x105].map((id) => hears(one, own, id))).toEqual([false, false]);
    expect(await ack(one, controlClass.VLAN, vlanCommand.ADD, [5, 1])).toBe(0);
    expect([5, 0x105].map((id) => hears(one, own, id))).toEqual([false, true]);
    expect(hears(one, own)).toBe(true);
    expect(await ack(one, controlClass.VLAN, vlanCommand.DEL, [5, 1])).toBe(0);
    expect([5, 0x105].map((id) => hears(one, own, id))).toEqual([false, false]);
    for (const [command, data] of [
      [vlanCommand.ADD, [0, 0x10]],
      [vlanCommand.ADD, [1]],
      [2, [1, 0]],
    ] as const) {
      expect(await ack(one, controlClass.VLAN, command, data)).toBe(1);
    }
  });

  // @holds 5.1.9.5.3.1 device: Device Types / Network Device / Device Operation / Control Virtqueue / VLAN Filtering
  it('are all where the driver cannot say that', async () => {
    const one = await joined(features.filter((feature) => feature !== 'CTRL_VLAN'));
    expect([0, 5, 4095].map((id) => hears(one, own, id))).toEqual([true, true, true]);
  });
});

describe('the link', () => {
  it('is as it is now when a driver resumes its device', async () => {
    const { device, far, guest } = await joined();
    await guest.opened.suspend();
    far.up = false;
    far.up = true;
    await guest.opened.resume();
    expect(device.config.status).toBe(netStatus.LINK_UP);
    await guest.opened.suspend();
    far.up = true;
    far.up = false;
    await guest.opened.resume();
    expect(device.config.status).toBe(0);
  });
});

describe('an announcement', () => {
  // @holds 5.1.9.5.4.2 device: Device Types / Network Device / Device Operation / Control Virtqueue / Gratuitous Packet Sending
  it('is asked for in the configuration until the driver has heard of it', async () => {
    const one = await joined();
    expect(one.device.announce()).toBe(true);
    expect(one.device.config.status).toBe(netStatus.LINK_UP | netStatus.ANNOUNCE);
    const answered = one.guest.command(controlClass.ANNOUNCE, 0);
    expect(one.device.config.status).toBe(netStatus.LINK_UP);
    expect(await answered).toEqual(Uint8Array.of(0));
    expect(await ack(one, controlClass.ANNOUNCE, 0)).toBe(0);
    expect(await ack(one, controlClass.ANNOUNCE, 1)).toBe(1);
    one.device.announce();
    await one.guest.opened.close();
    expect(one.device.config.status).toBe(netStatus.LINK_UP);
  });

  it('is not asked of whoever does not do that', async () => {
    expect(netDevice().announce()).toBe(false);
    const { device } = await joined(['STATUS']);
    expect(device.announce()).toBe(false);
    expect(device.config.status).toBe(netStatus.LINK_UP);
  });
});

describe('offloads', () => {
  it('are switched, as far as they were negotiated', async () => {
    const one = await joined();
    const { endpoint } = one.device;
    const on = (): string[] =>
      Object.entries(endpoint.takes).flatMap(([name, taken]) => (taken ? [name] : []));
    expect(on()).toEqual(['checksum', 'tcp4', 'udp6']);
    const offloads = (...bits: number[]): number[] => {
      const bytes = new Uint8Array(8);
      for (const bit of bits) bytes[bit >>> 3] = bytes[bit >>> 3]! | (1 << (bit & 7));
      return [...bytes];
    };
    expect(await ack(one, controlClass.GUEST_OFFLOADS, 0, offloads(1, 7))).toBe(0);
    expect(on()).toEqual(['checksum', 'tcp4']);
    for (const bit of [8, 9, 10, 46, 47, 54, 0, 63]) {
      expect(await ack(one, controlClass.GUEST_OFFLOADS, 0, offloads(1, bit))).toBe(1);
    }
    expect(await ack(one, controlClass.GUEST_OFFLOADS, 0, offloads(1).slice(1))).toBe(1);
    expect(await ack(one, controlClass.GUEST_OFFLOADS, 1, offloads(1))).toBe(1);
    expect(on()).toEqual(['checksum', 'tcp4']);
    expect(await ack(one, controlClass.GUEST_OFFLOADS, 0, offloads())).toBe(0);
    expect(on()).toEqual([]);
    expect(await ack(one, controlClass.GUEST_OFFLOADS, 0, offloads(1, 55))).toBe(0);
    expect(on()).toEqual(['checksum', 'udp6']);
    await one.guest.opened.close();
    expect(on()).toEqual([]);
  });
});
