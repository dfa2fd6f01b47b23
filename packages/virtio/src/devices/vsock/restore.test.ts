import { describe, expect, it } from 'vitest';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { movable } from '../../transports/loopback/movable.fixture.ts';
import { openVsock, type VsockOptions, vsockDevice } from './index.ts';

const octets = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

const echoing = (options: VsockOptions): ReturnType<typeof vsockDevice> => {
  const device = vsockDevice(options);
  device.listen(7, async (stream) => {
    for await (const bytes of stream) await stream.write(bytes);
    stream.end();
  });
  return device;
};

describe('a socket device that is saved and restored', () => {
  // @holds 5.10.6.7.1 driver: Device Types / Socket Device / Device Operation / Device Events
  it('tells its guest that connections are gone, and of its CID', async () => {
    const { transport, move } = movable(new Loopback(echoing({ guestCid: 5 })));
    let tell: (cid: number) => void = () => {};
    const told = new Promise<number>((resolve) => {
      tell = resolve;
    });
    const guest = await openVsock(transport, { onTransportReset: (cid) => tell(cid) });
    const lost = await guest.connect(7);
    const device = echoing({ guestCid: 9 });
    move(device);
    expect(await told).toBe(9);
    expect([guest.cid, device.guestCid]).toEqual([9, 9]);
    await expect(lost.read()).rejects.toMatchObject({ code: 'CONNECTION_RESET' });
    const stream = await guest.connect(7);
    await stream.write(octets('on'));
    expect(await stream.read()).toEqual(octets('on'));
    const listening = new Promise((resolve) => void guest.listen(80, resolve));
    await device.connect(80);
    await listening;
  });

  it('is refused, and left reset, when what was saved is not what a socket device saves', async () => {
    const transport = new Loopback(vsockDevice({ guestCid: 5 }));
    await openVsock(transport);
    const state: DeviceState = JSON.parse(JSON.stringify(transport.save()));
    expect(state.device).toEqual({ driven: true });
    for (const device of [null, [], {}, { driven: 1 }, 'x']) {
      const restored = new Loopback(vsockDevice({ guestCid: 5 }), { memory: transport.memory });
      const bad = expect.objectContaining({ code: 'BAD_STATE' });
      expect(() => restoreDevice(restored.core, { ...state, device })).toThrow(bad);
      expect(restored.core.status).toBe(0);
    }
  });
});
