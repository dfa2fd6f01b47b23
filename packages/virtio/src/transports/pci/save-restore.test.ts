import { describe, expect, it } from 'vitest';
import { UsageError } from '../../errors.ts';
import type { PciFunctionOptions } from './options.ts';
import { Guest, type SampleBehaviour } from './pci.fixture.ts';
import { restorePciFunction, savePciFunction } from './saving.ts';

const serving: SampleBehaviour = { serve: { first: () => {} }, reserved: [] };

/** A guest that goes on from where another stands: same memory, same state, as JSON keeps it. */
function restored(from: Guest, options: Partial<PciFunctionOptions> = {}): Guest {
  const to = new Guest(options, serving);
  to.memory.write(0, from.memory.read(0, 2 ** 20));
  restorePciFunction(to.pciFunction, JSON.parse(JSON.stringify(savePciFunction(from.pciFunction))));
  return to;
}

function live(options: Partial<PciFunctionOptions> = {}): Guest {
  return new Guest(options, serving).enable().negotiate().enableQueue(0).go();
}

describe('a saved function', () => {
  it('comes back with its BARs, its selections, its vectors and its queues', () => {
    const guest = live();
    guest.msixControl(0x8000);
    guest.programVector(1);
    guest.set('queue_msix_vector', 1);
    guest.set('config_msix_vector', 0);
    guest.set('device_feature_select', 3);
    const after = restored(guest);
    after.pciFunction.resume();
    expect(after.moves.at(-1)).toEqual(guest.moves.at(-1));
    expect(after.get('device_feature')).toBe(0x8000_0000);
    expect([after.get('queue_msix_vector'), after.get('config_msix_vector')]).toEqual([1, 0]);
    expect([after.get('queue_enable'), after.get('queue_size')]).toEqual([1, 16]);
    expect(after.messages).toEqual([{ address: 0xfee0_0000, data: 1 }]);
    after.offer(0);
    after.kick(0);
    expect(after.used(0)).toBe(1);
    expect(after.messages).toHaveLength(2);
  });

  it('raises its interrupt level again, and not before it is resumed', () => {
    const guest = live({ msixVectors: 0 });
    guest.device.updateConfig({ short: 1 });
    expect(guest.level).toBe(true);
    const after = restored(guest, { msixVectors: 0 });
    expect(after.line).toEqual([]);
    after.pciFunction.resume();
    expect(after.level).toBe(true);
    expect(after.isr() & 2).toBe(2);
    expect(after.level).toBe(false);
  });

  it('uses what had become available when it was saved', () => {
    const guest = live({ msixVectors: 0 });
    guest.offer(0);
    const after = restored(guest, { msixVectors: 0 });
    expect(after.used(0)).toBe(0);
    after.pciFunction.resume();
    expect(after.used(0)).toBe(1);
    expect(after.level).toBe(true);
  });

  it('sends what was pending when it is unmasked', () => {
    const guest = live();
    guest.msixControl(0xc000);
    guest.programVector(0);
    guest.set('config_msix_vector', 0);
    guest.device.updateConfig({ short: 1 });
    const after = restored(guest);
    after.pciFunction.resume();
    expect(after.messages).toEqual([]);
    expect(after.pending()).toBe(1);
    after.msixControl(0x8000);
    expect(after.messages).toEqual([{ address: 0xfee0_0000, data: 0 }]);
  });

  it('moves the generation on, since its driver may be in the middle of a read', () => {
    const guest = live();
    const before = guest.get('config_generation');
    expect(restored(guest).get('config_generation')).not.toBe(before);
  });

  it('does not fit a function of another shape, which stays reset', () => {
    const state = savePciFunction(live().pciFunction);
    const other = new Guest({ msixVectors: 1 }, serving);
    expect(() => restorePciFunction(other.pciFunction, state)).toThrow(UsageError);
    expect(() => restorePciFunction(other.pciFunction, { ...state, config: [] })).toThrow(UsageError);
    expect(other.pciFunction.core.status).toBe(0);
  });
});

describe('a reset of the bus', () => {
  it('takes everything back: device, BARs, command, vectors, line', () => {
    const guest = live();
    const fresh = savePciFunction(new Guest({}, serving).pciFunction);
    guest.msixControl(0x8000);
    guest.programVector(0);
    guest.set('config_msix_vector', 0);
    guest.device.updateConfig({ short: 0xabcd });
    guest.pciFunction.reset();
    const { core, generation, ...state } = savePciFunction(guest.pciFunction);
    const { core: freshCore, generation: freshGeneration, ...freshState } = fresh;
    expect(state).toEqual(freshState);
    expect(core.status).toBe(freshCore.status);
    expect(generation).toBeGreaterThanOrEqual(freshGeneration);
    expect(guest.moves.at(-1)?.every(({ enabled }) => !enabled)).toBe(true);
    guest.enable().negotiate().enableQueue(0).go();
    guest.offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(1);
  });

  it('lowers the line', () => {
    const guest = live({ msixVectors: 0 });
    guest.device.updateConfig({ short: 1 });
    guest.pciFunction.reset();
    expect(guest.line).toEqual([true, false]);
  });

  it('lets go of the device with detach', () => {
    const guest = live();
    guest.pciFunction.detach();
    expect(guest.device.onConfigUpdate).toBeUndefined();
  });
});
