import { deviceIds } from 'virtio/spec';
import { type DeviceTypeEntry, deviceTypes } from './device-types.ts';
import { bold, formatJson, formatTable, type Output } from './output.ts';
import { specVersion } from './version.ts';

/** What `virtio list` says of a device type. */
export interface ListedType {
  readonly id: number;
  /** The folder's name in the specification's source. */
  readonly name: string;
  /** What the specification calls it. */
  readonly title: string;
  readonly sides: readonly string[];
  readonly queues: readonly { readonly name: string; readonly family: boolean; readonly requires?: string }[];
  readonly features: readonly { readonly name: string; readonly bit: number }[];
  readonly buses: readonly string[];
}

/** `virtio list`: every device type that exists here. */
export function listCommand(output: Output, options: { readonly json: boolean }): void {
  const types = deviceTypes.map(describeType);
  if (options.json) {
    output.out(formatJson({ virtio: specVersion, types }));
    return;
  }
  for (const type of types) {
    output.out(`${bold(`${type.name}`, output.colour)} (id ${type.id}, ${type.title})\n`);
    output.out(
      formatTable([
        ['  sides', type.sides.join(', ')],
        ['  buses', type.buses.join(', ')],
        [
          '  queues',
          type.queues.map(({ name, family }) => (family ? `${name}…` : name)).join(', ') || 'none',
        ],
        [
          '  features',
          type.features.map(({ name, bit }) => `${name} (${bit})`).join(', ') || 'none of its own',
        ],
      ]),
    );
  }
}

const titles: ReadonlyMap<string, string> = new Map(Object.entries(deviceIds));

/** Everything of a type by the names of its table. */
function describeType({ type, sides, buses }: DeviceTypeEntry): ListedType {
  return {
    id: type.id,
    name: type.name,
    title: titles.get(`${type.id}`) ?? type.name,
    sides,
    queues: Object.entries(type.queues).map(([name, queue]) => ({
      name,
      family: typeof queue !== 'number' && queue.from !== undefined,
      ...(typeof queue !== 'number' && queue.requires !== undefined ? { requires: queue.requires } : {}),
    })),
    features: type.ownFeatures.map((name) => ({ name, bit: type.features[name] ?? -1 })),
    buses,
  };
}
