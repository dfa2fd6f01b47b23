import { LegacyRegisters, legacySupport, type PciLegacySupport } from '../legacy-device.ts';
import { ownersNotifyBar } from './legacy-notify.ts';

/**
 * The legacy interface of a virtual function: its owner's driver reaches it by administration commands, and queues are
 * notified at the start of BAR 1. The function itself is non-transitional, and has no BAR 0.
 *
 * @example
 * const vf = new PciFunction(blkDevice({ storage }), { memory, legacy: ownersLegacy() });
 * const owner = administer(blkDevice({ storage }), { groups: [new SriovGroup([vf])] });
 */
export function ownersLegacy(): PciLegacySupport {
  const bar = { bar: ownersNotifyBar, kind: 'memory32' } as const;
  return {
    ...legacySupport({}),
    bar,
    mainBar: bar,
    makeRegisters: (parts) => new LegacyRegisters({ ...parts, ownersOnly: true }),
  };
}
