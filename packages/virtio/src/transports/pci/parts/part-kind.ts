import type { PciFunction } from '../device.ts';
import type { PciFunctionState } from '../options.ts';

/** A part as a function has it now. */
export interface PartValue {
  /** 8 bytes; zeroes unless told. */
  readonly selector?: Uint8Array;
  readonly value: Uint8Array;
}

/** A type of device parts: how it is read from a function's state, and put into one. */
export interface PartKind {
  /** The `part_type`. */
  readonly type: number;
  /** It is there to be compared, or can be done without. */
  readonly optional?: boolean;
  /** The value has whatever length it needs. */
  readonly variable?: boolean;
  read(pciFunction: PciFunction, state: PciFunctionState): readonly PartValue[];
  /**
   * The state with the value in it. The part is one that the function has, and its value as long as the
   * function's.
   *
   * @throws {AdminRefusal} when the value cannot be.
   */
  take(
    pciFunction: PciFunction,
    state: PciFunctionState,
    value: DataView,
    selector: DataView,
  ): PciFunctionState;
}

/** The state with another state of the device in it. */
export const withCore = (
  state: PciFunctionState,
  core: Partial<PciFunctionState['core']>,
): PciFunctionState => ({
  ...state,
  core: { ...state.core, ...core },
});

/** The state with one queue changed. */
export function withQueue(
  state: PciFunctionState,
  index: number,
  changes: Partial<PciFunctionState['core']['queues'][number]>,
): PciFunctionState {
  const queues = state.core.queues.map((queue, i) => (i === index ? { ...queue, ...changes } : queue));
  return withCore(state, { queues });
}
