import { UsageError } from '../errors.ts';
import { FeatureSet, featureWords } from '../spec/features.ts';
import * as status from '../spec/status-bit.ts';
import { RestoredQueue } from '../virtqueue/restored-queue.ts';
import { saveQueue } from '../virtqueue/saved-chain.ts';
import type { ActiveQueue } from './active-queue.ts';
import { restoreConfig, saveConfig } from './config-space.ts';
import type { DeviceCore } from './core.ts';
import type { DeviceState } from './state.ts';

/** All that a device needs to go on from here in another process. */
export function saveDevice(core: DeviceCore): DeviceState {
  const { device, session, administration } = core;
  const { legacy, early, suspending, suspendAfterResume, driverFeatures } = session;
  return {
    type: device.type.id,
    status: session.status,
    driverFeatures: Array.from({ length: featureWords }, (_, word) => driverFeatures.word(word)),
    config: saveConfig(device.configSpace),
    pendingConfig: session.configChanged,
    ...(legacy === undefined ? {} : { legacy: early ? 'early' : 'used' }),
    ...(suspending || suspendAfterResume ? { suspending: true } : {}),
    queues: core.queues.map((setup, i) => ({ ...setup, ring: ringState(session.queues[i]) })),
    device: device.behaviour.save?.() ?? null,
    ...(administration === undefined ? {} : { administration: administration.save() }),
  };
}

const ringState = (queue: ActiveQueue | undefined) => (queue === undefined ? null : saveQueue(queue.ring));

/**
 * Gives a device a saved state. Call `core.resume` when the transport around it is restored as well.
 *
 * @throws {UsageError} BAD_STATE when the state is of another device: the device stays reset.
 */
export function restoreDevice(core: DeviceCore, state: DeviceState): void {
  core.reset();
  const { session, device } = core;
  if (state.legacy !== undefined) session.legacy = core.host.legacy;
  const features = FeatureSet.fromWords(state.driverFeatures);
  if (
    state.type !== device.type.id ||
    state.queues.length !== core.queues.length ||
    (state.legacy !== undefined) !== (session.legacy !== undefined) ||
    // Until FEATURES_OK a driver may have written what it likes.
    ((state.status & status.FEATURES_OK) !== 0 && !features.without(core.offered).isEmpty())
  ) {
    throw new UsageError('BAD_STATE', `the saved state does not fit this ${device.type.name} device`);
  }
  try {
    adopt(core, state, features);
  } catch (error) {
    // Half a state is worse than none.
    core.reset();
    throw error;
  }
}

function adopt(core: DeviceCore, state: DeviceState, features: FeatureSet): void {
  const { device, session } = core;
  session.status = state.status;
  session.driverFeatures = features;
  session.early = state.legacy === 'early';
  session.configChanged = state.pendingConfig;
  session.suspendAfterResume = state.suspending === true;
  restoreConfig(device.configSpace, state.config);
  for (const [index, { ring, ...setup }] of state.queues.entries()) {
    Object.assign(core.queues[index] ?? {}, setup);
    if (ring !== null) core.openQueue(index, new RestoredQueue(ring));
  }
  device.behaviour.restore?.(state.device);
  core.administration?.restore(state.administration ?? null);
  if (session.early || session.has(status.DRIVER_OK | status.SUSPEND)) core.activate();
}
