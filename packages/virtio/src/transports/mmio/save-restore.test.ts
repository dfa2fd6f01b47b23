import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import type { SampleBehaviour } from '../pci/pci.fixture.ts';
import { Guest } from './mmio.fixture.ts';
import { interruptBit } from './registers.ts';

const serving: SampleBehaviour = { serve: { first: () => {} }, reserved: [] };

/** A guest that goes on from where another stands: same memory, same state, as JSON keeps it. */
function restored(from: Guest): Guest {
  const to = new Guest({}, serving);
  to.memory.write(0, from.memory.read(0, 2 ** 20));
  to.window.restore(JSON.parse(JSON.stringify(from.window.save())));
  return to;
}

const live = (): Guest => new Guest({}, serving).negotiate().enableQueue(0).go();

describe('a saved device', () => {
  it('comes back with its selections and its queues', () => {
    const guest = live();
    guest.set('DeviceFeaturesSel', 3);
    guest.set('SHMSel', 5);
    const after = restored(guest);
    after.window.resume();
    expect(after.get('DeviceFeatures')).toBe(0x8000_0000);
    expect([after.get('QueueReady'), after.window.save().sharedMemorySelect]).toEqual([1, 5]);
    after.offer(0);
    after.kick(0);
    expect(after.used(0)).toBe(1);
  });

  it('raises its interrupt level again, and not before it is resumed', () => {
    const guest = live();
    guest.device.updateConfig({ short: 1 });
    const after = restored(guest);
    expect(after.line).toEqual([]);
    after.window.resume();
    expect(after.level).toBe(true);
    expect(after.acknowledge() & interruptBit.CONFIG).toBe(interruptBit.CONFIG);
    expect(after.level).toBe(false);
  });

  it('uses what had become available when it was saved', () => {
    const guest = live();
    guest.offer(0);
    const after = restored(guest);
    expect(after.used(0)).toBe(0);
    after.window.resume();
    expect([after.used(0), after.level]).toEqual([1, true]);
  });

  it('moves the generation on, since its driver may be in the middle of a read', () => {
    const guest = live();
    expect(restored(guest).get('ConfigGeneration')).not.toBe(guest.get('ConfigGeneration'));
  });

  it('does not fit another version, nor another device: it stays reset', () => {
    const state = live().window.save();
    const other = new Guest({}, serving).negotiate();
    expect(() => other.window.restore({ ...state, version: 1 })).toThrow(UsageError);
    expect(other.window.core.status).toBe(0);
    expect(() => other.window.restore({ ...state, core: { ...state.core, type: 1 } })).toThrow(UsageError);
    expect(other.window.core.status).toBe(0);
  });
});

it('a reset of the machine takes everything back', () => {
  const guest = live();
  const fresh = new Guest({}, serving).window.save();
  guest.set('SHMSel', 5);
  guest.device.updateConfig({ short: 0xabcd });
  guest.window.reset();
  const { core, ...state } = guest.window.save();
  const { core: freshCore, ...freshState } = fresh;
  expect(state).toEqual(freshState);
  expect(core.status).toBe(freshCore.status);
  expect(guest.line).toEqual([true, false]);
  guest.negotiate().enableQueue(0).go();
  guest.offer(0);
  guest.kick(0);
  expect(guest.used(0)).toBe(1);
});
