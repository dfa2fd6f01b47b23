import { restoreDevice, saveDevice } from '../../device/saving.ts';
import { restoreSelections, saveSelections } from '../../device/selections.ts';
import { UsageError } from '../../errors.ts';
import type { ConfigSpace } from './config-space.ts';
import type { PciFunction } from './device.ts';
import * as isrBit from './isr-bit.ts';
import type { PciFunctionState } from './options.ts';
import { configSpaceSize, pci_header } from './pci-registers.ts';
import { noVector } from './registers.ts';
import * as statusBit from './status-bit.ts';

/** All that a function and its device need to go on from here in another process: JSON. */
export function savePciFunction(pciFunction: PciFunction): PciFunctionState {
  const { config, interrupts, common, msix } = pciFunction.parts;
  const { table, pending } = msix?.save() ?? { table: [], pending: [] };
  const core = saveDevice(pciFunction.core);
  return {
    ...(pciFunction.stopped ? { stopped: true } : {}),
    config: Array.from(config.bytes),
    msixTable: table,
    msixPending: pending,
    isr: interrupts.isr,
    configVector: interrupts.configVector,
    queueVectors: Array.from(interrupts.queueVectors),
    ...saveSelections(common.control),
    generation: common.generation,
    // A notification that waits for the owner is one that the driver has not had.
    core: pciFunction.configHeld ? { ...core, pendingConfig: true } : core,
  };
}

/**
 * Gives a function a saved state; its host hears where the BARs are. Call `resume` when the host is ready for
 * interrupts and for the device to use memory.
 *
 * @throws {UsageError} BAD_STATE when the state is of another function: this one stays reset.
 */
export function restorePciFunction(pciFunction: PciFunction, state: PciFunctionState): void {
  pciFunction.reset();
  const { config, msix } = pciFunction.parts;
  if (!fits(config, state.config)) {
    throw new UsageError(
      'BAD_STATE',
      'the saved state is of a PCI function with another configuration space',
    );
  }
  restoreVirtio(pciFunction, state);
  for (const [at, byte] of state.config.entries()) config.write(at, 1, byte);
  msix?.restore(state.msixTable, state.msixPending);
  pciFunction.follow(state.stopped === true);
}

/** Takes back of a saved state what is virtio's: what PCI itself has stays as it is. */
export function restoreVirtio(pciFunction: PciFunction, state: PciFunctionState): void {
  const { interrupts, common } = pciFunction.parts;
  restoreDevice(pciFunction.core, state.core);
  interrupts.isr = state.isr & (isrBit.QUEUE | isrBit.CONFIG);
  interrupts.configVector = interrupts.inTable(state.configVector);
  for (const index of interrupts.queueVectors.keys()) {
    interrupts.queueVectors[index] = interrupts.inTable(state.queueVectors[index] ?? noVector);
  }
  restoreSelections(common.control, state);
  // The driver may be in mid-read, so the generation moves on.
  common.moveGeneration(state.generation);
}

/** True when the saved bytes are of a function of this very shape: they differ in a guest's bits alone. */
function fits({ initial, writable }: ConfigSpace, saved: readonly number[]): boolean {
  if (saved.length !== configSpaceSize) return false;
  const ownBits = (at: number): number => ~(writable[at] ?? 0) & 0xff & ~volatileBits(at);
  return saved.every((byte, at) => ((byte ^ (initial[at] ?? 0)) & ownBits(at)) === 0);
}

/** Interrupt Status comes and goes without anybody's write. */
const volatileBits = (at: number): number =>
  at === pci_header.field.status.offset ? statusBit.INTERRUPT : 0;
