import { PeerError, UsageError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import type { DeviceType, QueueNameOf } from '../spec/device-type.ts';
import { type FeatureSet, reservedFeatures } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import { readConfigFields } from './config.ts';
import { resetDevice } from './device-status.ts';
import { chooseFeatures } from './negotiate.ts';
import { OpenDevice } from './open-device.ts';
import type { OpenOptions, QueueChoice } from './options.ts';
import type { Transport } from './transport.ts';

/**
 * Opens a device: runs the initialisation sequence once, reads FEATURES_OK back, sets up the queues, and
 * sets DRIVER_OK. When a step fails, FAILED is set and the error is thrown. A transport to a legacy device is
 * driven by the sequence of 3.1.2.
 *
 * @throws {PeerError} OFFER_INVALID, FEATURES_NOT_ACCEPTED, RESET_INCOMPLETE, QUEUE_MISSING.
 * @throws {UsageError} BAD_ARGUMENT when the transport's device is of another type.
 * @spec 3.1.1 driver: General Initialization And Device Operation / Device Initialization
 * @spec 2.1.1 driver: Basic Facilities of a Virtio Device / Device Status Field
 */
export async function open<const T extends DeviceType>(
  transport: Transport,
  type: T,
  options: OpenOptions<T>,
): Promise<OpenDevice<T>> {
  if (transport.deviceId !== type.id) {
    throw new UsageError('BAD_ARGUMENT', `device ${transport.deviceId} is no ${type.name} (${type.id})`);
  }
  await resetDevice(transport);
  await transport.writeStatus(status.ACKNOWLEDGE);
  await transport.writeStatus(status.ACKNOWLEDGE | status.DRIVER);
  try {
    return await initialise(transport, type, options);
  } catch (error) {
    transport.listen(undefined);
    await setFailed(transport);
    throw error;
  }
}

async function initialise<const T extends DeviceType>(
  transport: Transport,
  type: T,
  options: OpenOptions<T>,
): Promise<OpenDevice<T>> {
  const offered = await transport.readDeviceFeatures();
  const understood =
    typeof options.features === 'function'
      ? await options.features((feature) => offered.has(type.features[feature] ?? -1))
      : options.features;
  const features = chooseFeatures(transport, type, options.reserved, understood, offered);
  await transport.writeDriverFeatures(features);
  const negotiated = await settleFeatures(transport, type, features);
  const config = await readConfigFields(transport, type, offered);
  const opened = new OpenDevice(type, transport, options, { offered, features, config });
  transport.listen({
    usedBuffer: (queue) => opened.usedBuffer(queue),
    configChange: () => opened.configChange(),
    restarting: (queue, remembers) => opened.restarting(queue, remembers),
    gone: (error) => opened.fail(error),
  });
  try {
    for (const { name, number } of options.queues?.(opened) ?? firstQueues(opened)) {
      await opened.enableQueue(name, number);
    }
    if (features.has(reservedFeatures.ADMIN_VQ)) await opened.enableAdminQueues();
    await transport.writeStatus(negotiated | status.DRIVER_OK);
  } catch (error) {
    // No queue was ever live, so the device does not use them.
    opened.release();
    throw error;
  }
  if (opened.failure !== undefined) throw opened.failure;
  return opened;
}

/** Ends negotiation, which the legacy interface has no step for; answers the status bits that are set by then. */
async function settleFeatures(transport: Transport, type: DeviceType, features: FeatureSet): Promise<number> {
  const begun = status.ACKNOWLEDGE | status.DRIVER;
  if (transport.legacy !== undefined) return begun;
  await transport.writeStatus(begun | status.FEATURES_OK);
  if (((await transport.readStatus()) & status.FEATURES_OK) === 0) {
    const names = type.featureNames(features).join(', ');
    throw new PeerError(
      'FEATURES_NOT_ACCEPTED',
      `the ${type.name} device does not accept ${names}`,
      deviceMistakes.FEATURES_NOT_ACCEPTED,
    );
  }
  return begun | status.FEATURES_OK;
}

/** Tells the device that its driver has given up. One that cannot even be told is no news. */
async function setFailed(transport: Transport): Promise<void> {
  try {
    await transport.writeStatus((await transport.readStatus()) | status.FAILED);
  } catch {
    // What went wrong before says more, and is thrown.
  }
}

function firstQueues<T extends DeviceType>(device: OpenDevice<T>): QueueChoice<T>[] {
  const { type } = device;
  return Object.entries(type.queues).flatMap(([name, queue]) => {
    const required = typeof queue === 'number' ? undefined : queue.requires;
    if (required !== undefined && !device.features.has(type.features[required] ?? -1)) return [];
    // The keys of `queues` are the type's queue names.
    return [{ name: name as QueueNameOf<T> }];
  });
}
