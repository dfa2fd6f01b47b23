import { describe, expect, it } from 'vitest';
import { blkDevice, memoryStorage, openBlk } from '../../../devices/blk/index.ts';
import { entropyDevice, openEntropy } from '../../../devices/entropy/index.ts';
import { defaultAcceptedFeatures } from '../../../driver/options.ts';
import { MovableGuest, ownerOf } from './movable.fixture.ts';

/** Bytes that count on, so that each tells whose it is and when it was made. */
const counting = (start: number) => {
  let next = start;
  return (target: Uint8Array): void => {
    for (let i = 0; i < target.length; i++) target[i] = next++;
  };
};

describe.each([{ packed: false }, { packed: true }])('a running device, packed $packed', ({ packed }) => {
  const reserved = defaultAcceptedFeatures.filter((name) => packed || name !== 'RING_PACKED');

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  // @holds 2.12.1.4.4.2 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('goes on as another device that was given its parts, and back', async () => {
    const guest = new MovableGuest();
    const first = guest.join(entropyDevice({ source: counting(0) }));
    const second = guest.join(entropyDevice({ source: counting(100) }));
    const here = await (await ownerOf([first], packed)).virtualFunction(1);
    const there = await (await ownerOf([second], packed)).virtualFunction(1);
    const rng = await openEntropy(await guest.openTransport(), { reserved });
    // More than the ring has descriptors, so that positions have gone round.
    for (let i = 0; i < 300; i++) await rng.read(1);

    await here.stop();
    const waiting = rng.read(2);
    await there.stop();
    guest.moveTo(second);
    await there.setParts(await here.parts());
    await there.resume();
    expect(await waiting).toEqual(Uint8Array.of(100, 101));
    expect(await rng.read(3)).toEqual(Uint8Array.of(102, 103, 104));

    await there.stop();
    guest.moveTo(first);
    await here.setParts(await there.parts());
    await here.resume();
    expect(await rng.read(2)).toEqual(Uint8Array.of(300 & 0xff, 301 & 0xff));
    expect(guest.errors).toEqual([]);
  });

  it('takes its disk along: what was written before is read after, and the other way round', async () => {
    const storage = memoryStorage(2 ** 16);
    const guest = new MovableGuest();
    const first = guest.join(blkDevice({ storage }));
    const second = guest.join(blkDevice({ storage }));
    const here = await (await ownerOf([first], packed)).virtualFunction(1);
    const there = await (await ownerOf([second], packed)).virtualFunction(1);
    const disk = await openBlk(await guest.openTransport(), { reserved });
    await disk.write(0, new Uint8Array(512).fill(1));
    const flying = Array.from({ length: 20 }, (_, i) => disk.write(i + 1, new Uint8Array(512).fill(i)));

    await here.stop();
    await there.stop();
    guest.moveTo(second);
    await there.setParts(await here.parts());
    await there.resume();
    await Promise.all(flying);
    await disk.write(40, new Uint8Array(512).fill(9));
    expect((await disk.read(0, 1))[0]).toBe(1);
    expect((await disk.read(20, 1))[0]).toBe(19);
    expect((await disk.read(40, 1))[0]).toBe(9);
    expect(first.core.status).not.toBe(0);
    expect(second.core.status).toBe(first.core.status);
    await disk.close();
    expect(guest.errors).toEqual([]);
  });
});
