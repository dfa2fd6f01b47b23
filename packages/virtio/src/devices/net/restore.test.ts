import { describe, expect, it } from 'vitest';
import { legacyInterface } from '../../device/legacy.ts';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { finished } from '../../link/offload.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { movable } from '../../transports/loopback/movable.fixture.ts';
import { netDevice } from './device.ts';
import { openNet } from './driver.ts';
import { broadcast, Far, frameOf, RawGuest } from './raw-guest.fixture.ts';
import { net, netStatus } from './spec.ts';

const mac = '52:54:00:00:00:01';
const other = [0x52, 0x54, 0, 0, 0, 2];
const group = [0x33, 0x33, 0, 0, 0, 1];

describe('a network device that is saved and restored', () => {
  it('goes on with all that its driver has set, on its own link', async () => {
    const first = netDevice({ mac, queuePairs: 2 });
    new Far(first.endpoint);
    const { transport, move } = movable(new Loopback(first));
    const card = await openNet(transport, { queuePairs: 2 });
    await card.setMac(Uint8Array.from(other));
    await card.setAddresses([Uint8Array.from(group)]);
    await card.setMode('noBroadcast', true);
    await card.addVlan(9);
    await card.setOffloads(['GUEST_CSUM']);
    const second = netDevice({ mac, queuePairs: 2 });
    const far = new Far(second.endpoint, false);
    move(second);
    expect([...second.config.mac]).toEqual(other);
    expect(second.config.status & netStatus.LINK_UP).toBe(0);
    expect(second.endpoint.takes).toMatchObject({ checksum: true, tcp4: false });
    const read = card.receive();
    far.device.receive(frameOf(60, 1, broadcast), finished);
    far.device.receive(frameOf(60, 2, [0x52, 0x54, 0, 0, 0, 1]), finished);
    const tagged = frameOf(60, 3, other);
    tagged.set([0x81, 0, 0, 8], 12);
    far.device.receive(tagged, finished);
    tagged[15] = 9;
    far.device.receive(tagged, finished);
    expect((await read)?.frame).toEqual(tagged);
    const next = card.receive();
    far.device.receive(frameOf(60, 4, group), finished);
    expect((await next)?.frame).toEqual(frameOf(60, 4, group));
    far.up = true;
    await card.send(frameOf(60, 5));
    expect(far.frames.map(({ frame }) => frame)).toEqual([frameOf(60, 5)]);
    await card.close();
    expect([...second.config.mac]).toEqual([0x52, 0x54, 0, 0, 0, 1]);
  });

  it('sends what waited for room in the other life', async () => {
    const first = netDevice({ mac });
    const far = new Far(first.endpoint);
    far.patience = 1;
    const loopback = new Loopback(first);
    const { transport, move } = movable(loopback);
    const card = await openNet(transport);
    for (const seed of [1, 2, 3]) await card.send(frameOf(60, seed));
    // It waits in its queue: nothing keeps the device from being stopped.
    expect(loopback.core.session.inFlight).toBe(false);
    const second = netDevice({ mac });
    const after = new Far(second.endpoint);
    move(second);
    expect([...far.frames, ...after.frames].map(({ frame }) => frame)).toEqual(
      [1, 2, 3].map((seed) => frameOf(60, seed)),
    );
  });

  it('is refused, and left reset, when what was saved is no state of a network device', async () => {
    const transport = new Loopback(netDevice());
    await openNet(transport);
    const state: DeviceState = JSON.parse(JSON.stringify(transport.save()));
    for (const device of [null, [], 1, 'x']) {
      const restored = new Loopback(netDevice(), { memory: transport.memory });
      const bad = expect.objectContaining({ code: 'BAD_STATE' });
      expect(() => restoreDevice(restored.core, { ...state, device })).toThrow(bad);
      expect(restored.core.status).toBe(0);
    }
  });
});

describe.each(['little', 'big'] as const)(
  'a network device with a legacy driver of a %s-endian guest',
  (endian) => {
    it('has a shorter header, without the number of buffers', async () => {
      const device = netDevice({ mac });
      const far = new Far(device.endpoint);
      const guest = await RawGuest.open(device, ['CSUM', 'HOST_TSO4'], {}, legacyInterface(endian));
      expect(guest.headerLength).toBe(10);
      const header = { flags: 1, csum_start: 34, csum_offset: 16, gso_type: 1, gso_size: 1000 };
      await guest.send(frameOf(2000), header);
      expect(far.frames).toMatchObject([
        { offload: { checksumStart: 34, checksumOffset: 16, segmentSize: 1000 } },
      ]);
      const heard = guest.hear();
      far.device.receive(frameOf(60), finished);
      expect(await heard).toMatchObject({ frame: frameOf(60), length: 70 });
      expect(guest.errors).toEqual([]);
    });

    it('tells the number of buffers in the byte order of the guest', async () => {
      const device = netDevice({ mac });
      const far = new Far(device.endpoint);
      const guest = await RawGuest.open(device, ['MRG_RXBUF'], {}, legacyInterface(endian));
      expect(guest.headerLength).toBe(12);
      const heard = [guest.hear(50), guest.hear(50)];
      far.device.receive(frameOf(60), finished);
      expect((await heard[0]!).header.num_buffers).toBe(2);
    });

    it('lets its driver write its address', async () => {
      const device = netDevice({ mac });
      const far = new Far(device.endpoint);
      const errors: unknown[] = [];
      const transport = new Loopback(device, {
        legacy: legacyInterface(endian),
        onError: (error) => void errors.push(error),
      });
      const features = ['MAC', 'STATUS', 'CTRL_VQ', 'CTRL_RX', 'MRG_RXBUF', 'CTRL_VLAN'] as const;
      const card = await openNet(transport, { features });
      expect(card.linkUp).toBe(true);
      await card.setMac(Uint8Array.from(other));
      expect([...device.config.mac]).toEqual(other);
      await card.addVlan(0x123);
      const read = card.receive();
      far.device.receive(frameOf(60, 1, [0x52, 0x54, 0, 0, 0, 1]), finished);
      const tagged = frameOf(60, 3, other);
      tagged.set([0x81, 0, 1, 0x23], 12);
      far.device.receive(tagged, finished);
      expect((await read)?.frame).toEqual(tagged);
      await card.close();
      expect([...device.config.mac]).toEqual([0x52, 0x54, 0, 0, 0, 1]);
      expect(errors).toEqual([]);
    });

    it('takes any segmentation where GSO was negotiated', async () => {
      const device = netDevice({ mac });
      const far = new Far(device.endpoint);
      const guest = await RawGuest.open(device, ['CSUM'], {}, legacyInterface(endian), [6]);
      expect(guest.transport.core.offered.has(net.legacy.features?.GSO ?? -1)).toBe(true);
      const header = { flags: 1, csum_start: 34, csum_offset: 16, gso_size: 1000 };
      for (const gso_type of [1, 3, 4, 0x81]) await guest.send(frameOf(2000), { ...header, gso_type });
      expect(far.frames.map(({ offload }) => offload.segmentation)).toEqual([1, 3, 4, 1]);
      expect(guest.errors).toEqual([]);
    });
  },
);
