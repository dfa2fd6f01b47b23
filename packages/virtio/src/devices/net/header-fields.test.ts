import { describe, expect, it } from 'vitest';
import { finished } from '../../link/offload.ts';
import { offloadOf, type PacketOptions, packet } from '../../link/packets.fixture.ts';
import { netDevice } from './device.ts';
import { Far, frameOf, RawGuest } from './raw-guest.fixture.ts';
import { headerFlag } from './spec-header.ts';

const options: PacketOptions = { version: 6, protocol: 'tcp', payload: new Uint8Array(3001) };

describe('fields of the header that few negotiate', () => {
  it('count the segments of a frame in place of its checksum: RSC_EXT', async () => {
    const device = netDevice({ also: ['RSC_EXT'] });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['CSUM', 'HOST_TSO6', 'GUEST_CSUM', 'GUEST_TSO6', 'RSC_EXT']);
    const made = packet(options);
    let heard = guest.hear(4096);
    far.device.receive(made.frame, offloadOf(options, made, 1000));
    expect((await heard).header).toMatchObject({
      flags: headerFlag.NEEDS_CSUM | headerFlag.RSC_INFO,
      csum_start: 4,
      csum_offset: 0,
      hdr_len: made.payloadAt,
      gso_size: 1000,
    });
    // One that is not to be cut is of one segment, and says so in no field.
    heard = guest.hear();
    const small: PacketOptions = { ...options, payload: new Uint8Array(3) };
    const one = packet(small);
    far.device.receive(one.frame, offloadOf(small, one));
    expect((await heard).header).toMatchObject({ flags: headerFlag.NEEDS_CSUM, csum_start: one.transportAt });
  });

  it('say where the network header begins: OUT_NET_HEADER', async () => {
    const device = netDevice({ also: ['OUT_NET_HEADER'] });
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['OUT_NET_HEADER']);
    expect(guest.headerLength).toBe(32);
    for (const [frame, offset] of [
      [packet({ ...options, payload: new Uint8Array(3) }).frame, 14],
      [packet({ ...options, payload: new Uint8Array(3), tags: 2 }).frame, 22],
      [frameOf(60), 0],
    ] as const) {
      const heard = guest.hear();
      far.device.receive(frame, finished);
      expect(await heard).toMatchObject({ header: { outer_nh_offset: offset }, frame });
    }
    // What a driver says of it is not needed, and so not trusted.
    await guest.send(frameOf(60), { outer_nh_offset: 0xffff });
    expect(far.frames).toHaveLength(1);
    expect(guest.errors).toEqual([]);
  });

  it('are offered at request alone', () => {
    const { offers } = netDevice({ queuePairs: 2 }).behaviour;
    for (const feature of ['RSC_EXT', 'OUT_NET_HEADER', 'HASH_REPORT', 'IPSEC'] as const) {
      expect(offers).not.toContain(feature);
    }
    expect(offers).toContain('RSS');
    expect(netDevice({ also: ['RSS'] }).behaviour.offers).toContain('RSS');
    expect(() => netDevice({ also: ['IPSEC'] })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
