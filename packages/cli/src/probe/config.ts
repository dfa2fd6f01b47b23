import { type DeviceType, dataView, type FeatureSet, hasField } from 'virtio/spec';

/** One field of a configuration, as JSON can have it. */
export interface ConfigField {
  readonly name: string;
  /** Numbers that JSON cannot hold are texts. */
  readonly value: unknown;
}

/** The fields that lie whole in the bytes, but for those whose feature the device does not offer. */
export function decodeConfig(type: DeviceType, config: Uint8Array, offered: FeatureSet): ConfigField[] {
  const view = dataView(config);
  return Object.entries(type.config.field).flatMap(([name, accessor]) => {
    if (!hasField(type, name, offered) || accessor.offset + accessor.size > config.length) return [];
    return [{ name, value: plain(accessor.get(view)) }];
  });
}

/** Longer than an address of any kind. */
const leastText = 17;

/** What a field of bytes says that holds printable text, filled up with zeroes. */
function textIn(bytes: Uint8Array): string | undefined {
  if (bytes.length < leastText) return undefined;
  const text = Buffer.from(bytes).toString().replace(/\0+$/, '');
  return /^[^\p{C}\ufffd]+$/u.test(text) ? text : undefined;
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value <= Number.MAX_SAFE_INTEGER ? Number(value) : `${value}`;
  if (value instanceof Uint8Array) return textIn(value) ?? Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}
