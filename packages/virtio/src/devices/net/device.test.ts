import { describe, expect, it } from 'vitest';
import { finished } from '../../link/offload.ts';
import { netDevice } from './device.ts';
import { Far, frameOf, RawGuest } from './raw-guest.fixture.ts';

describe('a network device', () => {
  it('sends what its driver sends', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MAC', 'STATUS']);
    await guest.send(frameOf(60, 1));
    await guest.send(frameOf(1514, 2));
    expect(far.frames).toEqual([
      { frame: frameOf(60, 1), offload: finished },
      { frame: frameOf(1514, 2), offload: finished },
    ]);
    expect(guest.opened.config.status).toBe(1);
    expect(guest.errors).toEqual([]);
  });

  it('gives its driver what comes', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MAC', 'STATUS']);
    expect(far.device.receive(frameOf(60), finished)).toBe(false);
    const heard = guest.hear();
    expect(far.rooms).toBe(1);
    expect(far.device.receive(frameOf(60), finished)).toBe(true);
    expect(await heard).toMatchObject({
      header: { num_buffers: 1, flags: 0 },
      frame: frameOf(60),
      length: 72,
    });
    expect(guest.errors).toEqual([]);
  });

  it('spreads a frame over buffers, and puts them back when there are too few', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    const guest = await RawGuest.open(device, ['MRG_RXBUF']);
    const frame = frameOf(1000, 3);
    const heard = [guest.hear(400), guest.hear(400)];
    expect(far.device.receive(frame, finished)).toBe(false);
    heard.push(guest.hear(400));
    expect(far.rooms).toBe(1);
    expect(far.device.receive(frame, finished)).toBe(true);
    const pieces = await Promise.all(heard);
    expect(pieces[0]?.header.num_buffers).toBe(3);
    expect(pieces.map(({ length }) => length)).toEqual([400, 400, 212]);
    expect(guest.errors).toEqual([]);
  });

  it('lets its driver wait while its link has no room, and not for ever', async () => {
    const device = netDevice();
    const far = new Far(device.endpoint);
    far.patience = 1;
    const guest = await RawGuest.open(device, []);
    const sent = [1, 2, 3].map((seed) => guest.send(frameOf(60, seed)));
    await sent[0];
    expect(far.frames.length).toBe(1);
    far.makeRoom(1);
    await sent[1];
    far.makeRoom(5);
    await Promise.all(sent);
    expect(far.frames.map(({ frame }) => frame)).toEqual([1, 2, 3].map((seed) => frameOf(60, seed)));
  });

  it('finds its control queue behind all pairs', async () => {
    const device = netDevice({ queuePairs: 4 });
    new Far(device.endpoint);
    const one = await RawGuest.open(device, ['CTRL_VQ', 'CTRL_RX']);
    expect(one.opened.queue('controlq').index).toBe(2);
    expect(await one.command(0, 0, [1])).toEqual(Uint8Array.of(0));
    await one.opened.close();
    const four = await RawGuest.open(device, ['CTRL_VQ', 'MQ']);
    expect(four.opened.queue('controlq').index).toBe(8);
    expect(await four.command(4, 0, [4, 0])).toEqual(Uint8Array.of(0));
    expect(await four.command(4, 0, [5, 0])).toEqual(Uint8Array.of(1));
    expect(one.errors).toEqual([]);
    expect(four.errors).toEqual([]);
  });
});
