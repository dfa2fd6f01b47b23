import { UsageError } from '../errors.ts';
import { restoreConfig, saveConfig } from './config-space.ts';
import type { DeviceCore } from './core.ts';
import type { DeviceOwnState } from './state.ts';

/** What is the device's alone, where somebody else keeps its status and its queues. */
export function saveOwnState({ device }: DeviceCore): DeviceOwnState {
  const { type, configSpace, behaviour } = device;
  return { type: type.id, config: saveConfig(configSpace), device: behaviour.save?.() ?? null };
}

/**
 * Takes back what `saveOwnState` gave, before DRIVER_OK.
 *
 * @throws {UsageError} BAD_STATE when it is of another device.
 */
export function restoreOwnState({ device }: DeviceCore, state: DeviceOwnState): void {
  const { type, configSpace, behaviour } = device;
  if (state.type !== type.id) {
    throw new UsageError('BAD_STATE', `the saved state does not fit this ${type.name} device`);
  }
  restoreConfig(configSpace, state.config);
  behaviour.restore?.(state.device);
}
