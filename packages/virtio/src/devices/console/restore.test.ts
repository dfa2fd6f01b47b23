import { describe, expect, it } from 'vitest';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { movable } from '../../transports/loopback/movable.fixture.ts';
import { consoleDevice, controlEvent, openConsole } from './index.ts';
import { rawGuest } from './raw-guest.fixture.ts';

const octets = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

describe('a console that is saved and restored', () => {
  it('goes on with its open ports, its size and the input that waited', async () => {
    const device = consoleDevice({ ports: [{ name: 'agent' }], size: { cols: 100, rows: 50 } });
    const { transport, move } = movable(new Loopback(device));
    const guest = await openConsole(transport);
    const agent = await guest.port('agent');
    const text = await guest.port(0);
    void device.port('agent').write(octets('waited'));

    const out: string[] = [];
    const opens: boolean[] = [];
    move(
      consoleDevice({
        ports: [{ name: 'agent', onGuestOpen: (open) => opens.push(open) }],
        onData: (data) => void out.push(String.fromCharCode(...data)),
        onGuestOpen: (open) => opens.push(open),
      }),
    );
    await text.write(octets('on'));
    expect(out).toEqual(['on']);
    expect(opens).toEqual([true]);
    await agent.open();
    expect(await agent.read()).toEqual(octets('waited'));
    expect(opens).toEqual([true, true]);
    expect(text.size).toEqual({ cols: 100, rows: 50 });
  });

  it('tells the guest of ports that are no more, and of those that are new', async () => {
    const { transport, move } = movable(
      new Loopback(consoleDevice({ ports: [{ name: 'old' }, { name: 'both' }] })),
    );
    const removed: string[] = [];
    const guest = await openConsole(transport, { onPortRemoved: ({ name }) => removed.push(name) });
    await guest.port('both');
    const old = await guest.port('old');
    move(consoleDevice({ ports: [{ name: 'new' }, { name: 'both' }, { name: 'third' }] }));
    expect((await guest.port('new')).id).toBe(1);
    expect((await guest.port('third')).id).toBe(3);
    expect(removed).toEqual(['old']);
    await expect(old.write(octets('x'))).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  });

  it('hands on again what the host had not finished taking', async () => {
    const device = consoleDevice({ onData: () => new Promise<void>(() => {}) });
    const { transport, move } = movable(new Loopback(device));
    const guest = await openConsole(transport);
    const text = await guest.port(0);
    const written = text.write(octets('twice'));
    await Promise.resolve();
    await Promise.resolve();
    const out: string[] = [];
    move(consoleDevice({ onData: (data) => void out.push(String.fromCharCode(...data)) }));
    await written;
    expect(out).toEqual(['twice']);
  });

  it('keeps messages for which the driver had given no buffer', async () => {
    const options = { ports: [{ name: 'a' }] };
    const { transport, tell } = await rawGuest(consoleDevice(options));
    await tell(0, controlEvent.DEVICE_READY, 1);
    const state: DeviceState = JSON.parse(JSON.stringify(transport.save()));
    const restored = new Loopback(consoleDevice(options), { memory: transport.memory });
    restoreDevice(restored.core, state);
    restored.core.resume();
    const { device } = restored.save();
    expect(device).toEqual(state.device);
    expect(device).toMatchObject({ messages: [{ id: 0 }, { id: 1 }], driverReady: true });
  });

  it('is refused, and left reset, when what was saved is not what a console saves', async () => {
    const { transport, tell } = await rawGuest(consoleDevice());
    await tell(0, controlEvent.DEVICE_READY, 1);
    const state: DeviceState = JSON.parse(JSON.stringify(transport.save()));
    const port = {
      id: 0,
      name: '',
      announced: true,
      ready: true,
      guestOpen: true,
      size: { cols: 1, rows: 1 },
    };
    const damaged = [
      null,
      [],
      { driverReady: true, ports: [], messages: {} },
      { driverReady: true, ports: [{ ...port, input: [256] }], messages: [] },
      { driverReady: true, ports: [{ ...port, size: { cols: -1, rows: 1 }, input: [] }], messages: [] },
      { driverReady: true, ports: [], messages: [{ id: 0, event: 1, value: '0', payload: [] }] },
    ];
    for (const device of damaged) {
      const restored = new Loopback(consoleDevice(), { memory: transport.memory });
      const bad = expect.objectContaining({ code: 'BAD_STATE' });
      expect(() => restoreDevice(restored.core, { ...state, device })).toThrow(bad);
      expect(restored.core.status).toBe(0);
    }
  });
});
