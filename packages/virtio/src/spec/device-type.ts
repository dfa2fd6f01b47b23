import { UsageError } from '../errors.ts';
import { FeatureSet, type ReservedFeatureName, reservedFeatures } from './features.ts';
import { type Fields, type Struct, struct } from './layout.ts';
import { type LegacyForm, legacyReservedFeatures } from './legacy.ts';

/** A feature: its bit, or its bit and the features it needs to be accepted with. */
export type FeatureDeclaration<N extends string = string> =
  | number
  | { readonly bit: number; readonly requires: readonly (N | ReservedFeatureName)[] };

/**
 * Where a queue stands: its index, or the indexes of a family. A family starts with `first`, and goes on
 * from `from` in steps of `every`: the console's `receiveq` is 0, then 4, 6, 8…
 */
export type QueueDeclaration<N extends string = string> =
  | number
  | {
      readonly first?: readonly number[];
      readonly from?: number;
      readonly every?: number;
      /** The feature without which the queue is not there. */
      readonly requires?: N;
      /** The family's first number in the specification's own naming (`requestq1`, `receiveq0`…); 1 unless told. */
      readonly numberedFrom?: number;
    };

/** What a device type is made of. */
export interface DeviceTypeDeclaration<
  F extends Record<string, unknown>,
  Q extends string,
  C extends Fields,
> {
  /** A device id of chapter 5, or one of your own that is not given away: 1 to 63. */
  readonly id: number;
  /** The folder's name in the specification's source: `blk`, `console`. */
  readonly name: string;
  readonly features: { readonly [K in keyof F]: FeatureDeclaration<Extract<keyof F, string>> };
  readonly queues: { readonly [K in Q]: QueueDeclaration<Extract<keyof F, string>> };
  /** The configuration structure; absent where the device type has none. */
  readonly config?: Struct<C>;
  /** Fields that exist only with a feature. */
  readonly configRequires?: { readonly [K in keyof C]?: Extract<keyof F, string> };
  /** The fields that the driver may write. */
  readonly driverWritable?: readonly Extract<keyof C, string>[];
  /** The PCI base class and subclass that suit the type, `0xCCSS`; 0xff00 (unassigned) unless told. */
  readonly pciClass?: number;
  /** What is different when the device is used through the legacy interface. */
  readonly legacy?: LegacyForm;
}

/** The name and number of a queue: `{ name: 'receiveq', number: 2 }` is the third of its family. */
export interface QueueName<Q extends string = string> {
  readonly name: Q;
  /** From 0 within the family; 0 for a queue that is alone. */
  readonly number: number;
}

/** A device type as a value: everything that both sides, the inspector and the documents know of it. */
export interface DeviceType<F extends string = string, Q extends string = string, C extends Fields = Fields> {
  readonly id: number;
  readonly name: string;
  /** Bit of each feature, the reserved ones among them. */
  readonly features: Readonly<Record<F | ReservedFeatureName, number>>;
  /** The names of the type's own features, without the reserved ones. */
  readonly ownFeatures: readonly F[];
  readonly queues: Readonly<Record<Q, QueueDeclaration<F>>>;
  readonly config: Struct<C>;
  readonly configRequires: { readonly [K in keyof C]?: F };
  readonly driverWritable: readonly Extract<keyof C, string>[];
  readonly pciClass: number;
  readonly legacy: LegacyForm;
  /** The queue's index among the device's virtqueues; `undefined` for a number its family does not reach. */
  queueIndex(name: Q, number?: number): number | undefined;
  /** Which queue stands at an index; `undefined` when none can. */
  queueAt(index: number): QueueName<Q> | undefined;
  /** The queue's name as the specification writes it: `requestq1`, `receiveq(port0)` as `receiveq0`. */
  queueLabel(index: number): string;
  /** The features of a set by name, unknown bits as `bit7`. */
  featureNames(set: FeatureSet): string[];
  /** The set of the named features. */
  featureSet(names: Iterable<F | ReservedFeatureName>): FeatureSet;
  /** What each feature in the set needs and does not find there; empty when the set is sound. */
  missingRequirements(set: FeatureSet): { readonly feature: string; readonly requires: string }[];
}

/** The names of a device type's features, queues and configuration fields. */
export type FeatureNameOf<T> =
  T extends DeviceType<infer F, infer _Q, infer _C> ? F | ReservedFeatureName : never;
export type OwnFeatureNameOf<T> = T extends DeviceType<infer F, infer _Q, infer _C> ? F : never;
export type QueueNameOf<T> = T extends DeviceType<infer _F, infer Q, infer _C> ? Q : never;
export type ConfigFieldsOf<T> = T extends DeviceType<infer _F, infer _Q, infer C> ? C : never;

const bitOf = (declaration: FeatureDeclaration): number =>
  typeof declaration === 'number' ? declaration : declaration.bit;

/** More than one queue can bear the name, so that a number must tell them apart. */
const isFamily = (queue: QueueDeclaration): queue is Exclude<QueueDeclaration, number> =>
  typeof queue !== 'number' && (queue.from !== undefined || (queue.first ?? []).length > 1);

const isReservedRange = (bit: number): boolean => (bit >= 24 && bit <= 40) || bit === 43;

/**
 * Declares a device type. Names that are not declared here are compile errors wherever the type is used.
 *
 * @throws {UsageError} BAD_DEVICE_TYPE for a bit that is used twice or reserved, for an unknown requirement.
 */
export function deviceType<
  const F extends Record<string, unknown>,
  const Q extends string,
  const C extends Fields = Record<never, never>,
>(declaration: DeviceTypeDeclaration<F, Q, C>): DeviceType<Extract<keyof F, string>, Q, C> {
  type Name = Extract<keyof F, string>;
  const fail = (what: string): never => {
    throw new UsageError('BAD_DEVICE_TYPE', `device type ${declaration.name}: ${what}`);
  };
  const { id } = declaration;
  if (!Number.isInteger(id) || id < 1 || id > 63) fail(`id ${id} is not between 1 and 63`);
  // The declaration's keys are the names; Object.entries forgets that.
  const declared = Object.entries(declaration.features) as [Name, FeatureDeclaration][];
  const nameOfBit = new Map<number, string>(
    Object.entries({ ...reservedFeatures, ...legacyReservedFeatures }).map(([name, bit]) => [bit, name]),
  );
  const requirements = new Map<string, readonly string[]>();
  const features: Record<string, number> = { ...reservedFeatures };
  for (const [name, feature] of declared) {
    const bit = bitOf(feature);
    if (isReservedRange(bit)) fail(`feature ${name} stands on the reserved bit ${bit}`);
    if (nameOfBit.has(bit)) fail(`features ${name} and ${nameOfBit.get(bit)} share bit ${bit}`);
    nameOfBit.set(bit, name);
    features[name] = bit;
    if (typeof feature !== 'number') requirements.set(name, feature.requires);
  }
  const { legacy = {} } = declaration;
  for (const [name, bit] of Object.entries(legacy.features ?? {})) {
    if (nameOfBit.has(bit)) fail(`features ${name} and ${nameOfBit.get(bit)} share bit ${bit}`);
    nameOfBit.set(bit, name);
  }
  for (const [name, needed] of requirements) {
    for (const other of needed)
      if (!(other in features)) fail(`feature ${name} requires ${other}, which is unknown`);
  }

  // The declaration's keys are the names; Object.entries forgets that.
  const queueEntries = Object.entries(declaration.queues) as [Q, QueueDeclaration<Name>][];

  const queueIndex = (name: Q, number = 0): number | undefined => {
    const queue: QueueDeclaration<Name> = declaration.queues[name];
    if (typeof queue === 'number') return number === 0 ? queue : undefined;
    const first = queue.first ?? [];
    if (number < first.length) return first[number];
    if (queue.from === undefined) return undefined;
    return queue.from + (number - first.length) * (queue.every ?? 1);
  };

  const queueAt = (index: number): QueueName<Q> | undefined => {
    for (const [name, queue] of queueEntries) {
      if (typeof queue === 'number') {
        if (queue === index) return { name, number: 0 };
        continue;
      }
      const first = queue.first ?? [];
      const among = first.indexOf(index);
      if (among !== -1) return { name, number: among };
      if (queue.from === undefined || index < queue.from) continue;
      const steps = (index - queue.from) / (queue.every ?? 1);
      if (Number.isInteger(steps)) return { name, number: first.length + steps };
    }
    return undefined;
  };

  return {
    id: declaration.id,
    name: declaration.name,
    // Filled above with exactly the declared and the reserved names.
    features: Object.freeze(features) as Readonly<Record<Name | ReservedFeatureName, number>>,
    ownFeatures: declared.map(([name]) => name),
    queues: declaration.queues,
    config: declaration.config ?? emptyConfig<C>(),
    configRequires: declaration.configRequires ?? {},
    driverWritable: declaration.driverWritable ?? [],
    pciClass: declaration.pciClass ?? 0xff00,
    legacy,
    queueIndex,
    queueAt,
    queueLabel(index) {
      const found = queueAt(index);
      if (found === undefined) return `queue${index}`;
      const queue: QueueDeclaration<Name> = declaration.queues[found.name];
      return isFamily(queue) ? `${found.name}${found.number + (queue.numberedFrom ?? 1)}` : found.name;
    },
    featureNames: (set) => set.bits().map((bit) => nameOfBit.get(bit) ?? `bit${bit}`),
    featureSet: (names) =>
      FeatureSet.of(Array.from(names, (name) => features[name] ?? fail(`no feature ${name}`))),
    missingRequirements(set) {
      const missing: { feature: string; requires: string }[] = [];
      for (const [name, needed] of requirements) {
        if (!set.has(features[name] ?? 0)) continue;
        for (const other of needed) {
          if (!set.has(features[other] ?? 0)) missing.push({ feature: name, requires: other });
        }
      }
      return missing;
    },
  };
}

function emptyConfig<C extends Fields>(): Struct<C> {
  // A type that declares no configuration has no fields, so the empty structure is its Struct<C>.
  return emptyStruct as unknown as Struct<C>;
}
const emptyStruct: Struct<Record<never, never>> = struct('empty', {});
