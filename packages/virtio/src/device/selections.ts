import type { ControlRegisters } from './control-registers.ts';

/** What a driver selects before it reads or writes more: JSON. */
export interface Selections {
  readonly deviceFeatureSelect: number;
  readonly driverFeatureSelect: number;
  readonly queueSelect: number;
}

export function saveSelections(control: ControlRegisters): Selections {
  const { deviceFeatureSelect, driverFeatureSelect, queueSelect } = control;
  return { deviceFeatureSelect, driverFeatureSelect, queueSelect };
}

export function restoreSelections(control: ControlRegisters, state: Selections): void {
  control.deviceFeatureSelect = state.deviceFeatureSelect >>> 0;
  control.driverFeatureSelect = state.driverFeatureSelect >>> 0;
  control.queueSelect = state.queueSelect >>> 0;
}
