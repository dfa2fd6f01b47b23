import { PeerError, UsageError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import type { DeviceType } from '../spec/device-type.ts';
import type { FeatureSet } from '../spec/features.ts';
import { guestView } from '../spec/guest-endian.ts';
import { hasField } from '../spec/has-field.ts';
import { configEndian, untilTwoAgree } from './legacy.ts';
import type { Transport } from './transport.ts';

/** How often a read is tried again while the generation moves. */
const generationTries = 100;

/**
 * Reads the configuration fields, but for those whose feature the device does not offer.
 *
 * @throws {PeerError} GENERATION_UNSTABLE.
 */
export function readConfigFields(
  transport: Transport,
  type: DeviceType,
  offered: FeatureSet,
): Promise<Record<string, unknown>> {
  return inOneGeneration(transport, () => readOnce(transport, type, offered));
}

/**
 * Reads what belongs to one version of the configuration space: again, until the generation stands still.
 *
 * @throws {PeerError} GENERATION_UNSTABLE when it never does.
 * @spec 2.5.1 driver: Basic Facilities of a Virtio Device / Device Configuration Space
 */
export async function inOneGeneration<V>(transport: Transport, read: () => Promise<V>): Promise<V> {
  if (transport.legacy !== undefined) return untilTwoAgree(read);
  for (let tries = 0; tries < generationTries; tries++) {
    const before = await transport.configGeneration();
    const values = await read();
    if ((await transport.configGeneration()) === before) return values;
  }
  throw new PeerError(
    'GENERATION_UNSTABLE',
    `device ${transport.deviceId} changed its configuration during each of ${generationTries} reads`,
    deviceMistakes.GENERATION_UNSTABLE,
  );
}

async function readOnce(
  transport: Transport,
  type: DeviceType,
  offered: FeatureSet,
): Promise<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  for (const [name, accessor] of Object.entries(type.config.field)) {
    if (!hasField(type, name, offered)) continue;
    const whole = new Uint8Array(type.config.size);
    for (const part of type.config.codecs[name]?.parts() ?? []) {
      const bytes = await transport.readConfig(accessor.offset + part.offset, part.size);
      whole.set(bytes.subarray(0, part.size), accessor.offset + part.offset);
    }
    values[name] = accessor.get(guestView(whole, configEndian(transport, type)));
  }
  return values;
}

/**
 * Writes one configuration field that the driver may write.
 *
 * @throws {UsageError} UNKNOWN_NAME for a field that is the device's alone.
 */
export async function writeConfigField(
  transport: Transport,
  type: DeviceType,
  name: string,
  value: unknown,
): Promise<void> {
  const accessor = type.config.field[name];
  const legacyOnes = transport.legacy === undefined ? [] : (type.legacy.driverWritable ?? []);
  if (accessor === undefined || ![...type.driverWritable, ...legacyOnes].includes(name)) {
    throw new UsageError('UNKNOWN_NAME', `${name} is not a field of ${type.name} that a driver may write`);
  }
  const whole = new Uint8Array(type.config.size);
  accessor.set(guestView(whole, configEndian(transport, type)), 0, value);
  for (const part of type.config.codecs[name]?.parts() ?? []) {
    const start = accessor.offset + part.offset;
    await transport.writeConfig(start, whole.slice(start, start + part.size));
  }
}
