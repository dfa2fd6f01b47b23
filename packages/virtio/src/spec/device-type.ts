import { UsageError } from '../errors.ts';
import { FeatureSet, type ReservedFeatureName, reservedFeatures } from './features.ts';
import { type Fields, type Struct, struct } from './layout.ts';
import { type LegacyForm, legacyReservedFeatures } from './legacy.ts';

/** A feature that another needs, or several of which it needs one. */
export type Requirement<N extends string = string> =
  | N
  | ReservedFeatureName
  | readonly (N | ReservedFeatureName)[];

/** A feature: its bit, or its bit and the features it needs to be accepted with. */
export type FeatureDeclaration<N extends string = string> =
  | number
  | { readonly bit: number; readonly requires: readonly Requirement<N>[] };

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
      /** What is different about its place, by what was negotiated. */
      readonly moved?: (settled: SettledDevice) => MovedFamily;
    };

/** Where a family stands instead: what is absent is as the table has it. */
export interface MovedFamily {
  readonly first?: readonly number[];
  readonly from?: number;
  /** The index that its queues stay below. */
  readonly until?: number;
}

/** What the place of a queue may depend on: what was negotiated, and the configuration. */
export interface SettledDevice {
  has(feature: string): boolean;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Of a device with which nothing is negotiated. */
const unsettled: SettledDevice = { has: () => false, config: {} };

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
  readonly configRequires?: {
    readonly [K in keyof C]?: Extract<keyof F, string> | readonly Extract<keyof F, string>[];
  };
  /** The fields that the driver may write. */
  readonly driverWritable?: readonly Extract<keyof C, string>[];
  /** The PCI base class and subclass that suit the type, `0xCCSS`; 0xff00 (unassigned) unless told. */
  readonly pciClass?: number;
  /** What is different when the device is used through the legacy interface. */
  readonly legacy?: LegacyForm;
  /**
   * Features of what some front ends of vhost-user do by themselves: the back end does not hear whether the driver has
   * accepted them, and features that need them may come without.
   */
  readonly keptByFrontEnds?: readonly Extract<keyof F, string>[];
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
  /** The feature that must be there for a field to exist, or several of which one must; `hasField` asks. */
  readonly configRequires: { readonly [K in keyof C]?: F | readonly F[] };
  readonly driverWritable: readonly Extract<keyof C, string>[];
  readonly pciClass: number;
  readonly legacy: LegacyForm;
  readonly keptByFrontEnds: readonly F[];
  /**
   * The queue's index among the device's virtqueues; `undefined` for a number its family does not reach. Without
   * `settled`, as if no feature was negotiated.
   */
  queueIndex(name: Q, number?: number, settled?: SettledDevice): number | undefined;
  /** Which queue stands at an index; `undefined` when none can. */
  queueAt(index: number, settled?: SettledDevice): QueueName<Q> | undefined;
  /** The queue's name as the specification writes it: `requestq1`, `receiveq(port0)` as `receiveq0`. */
  queueLabel(index: number, settled?: SettledDevice): string;
  /** The features of a set by name, unknown bits as `bit7`. */
  featureNames(set: FeatureSet): string[];
  /** The set of the named features. */
  featureSet(names: Iterable<F | ReservedFeatureName>): FeatureSet;
  /** What each feature in the set needs, and finds neither there nor in `granted`; empty when the set is sound. */
  missingRequirements(set: FeatureSet, granted?: readonly string[]): MissingRequirement[];
}

/** A feature in a set, and those of which it needs one there. */
export interface MissingRequirement {
  readonly feature: string;
  readonly anyOf: readonly string[];
}

/** The names of a device type's features, queues and configuration fields. */
export type FeatureNameOf<T> =
  T extends DeviceType<infer F, infer _Q, infer _C> ? F | ReservedFeatureName : never;
export type OwnFeatureNameOf<T> = T extends DeviceType<infer F, infer _Q, infer _C> ? F : never;
export type QueueNameOf<T> = T extends DeviceType<infer _F, infer Q, infer _C> ? Q : never;
export type ConfigFieldsOf<T> = T extends DeviceType<infer _F, infer _Q, infer C> ? C : never;

/** A queue that is alone is a family of one. */
const familyOf = <N extends string>(queue: QueueDeclaration<N>): Exclude<QueueDeclaration<N>, number> =>
  typeof queue === 'number' ? { first: [queue] } : queue;

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
  const features: Record<string, number> = { ...reservedFeatures };
  const requirements: MissingRequirement[] = [];
  for (const [feature, declaredAs] of declared) {
    const { bit, requires } = typeof declaredAs === 'number' ? { bit: declaredAs, requires: [] } : declaredAs;
    if (isReservedRange(bit)) fail(`feature ${feature} stands on the reserved bit ${bit}`);
    features[feature] = bit;
    for (const other of requires) requirements.push({ feature, anyOf: oneOf(other) });
  }
  for (const { feature, anyOf } of requirements) {
    const unknown = anyOf.find((name) => !(name in features));
    if (unknown !== undefined) fail(`feature ${feature} requires ${unknown}, which is unknown`);
  }
  const { legacy = {} } = declaration;
  const nameOfBit = new Map<number, string>();
  for (const named of [features, legacyReservedFeatures, legacy.features ?? {}]) {
    for (const [feature, bit] of Object.entries(named)) {
      if (nameOfBit.has(bit)) fail(`features ${feature} and ${nameOfBit.get(bit)} share bit ${bit}`);
      nameOfBit.set(bit, feature);
    }
  }

  // The declaration's keys are the names; Object.entries forgets that.
  const queueEntries = Object.entries(declaration.queues) as [Q, QueueDeclaration<Name>][];

  const placed = (place: QueueDeclaration<Name>, settled: SettledDevice) => {
    const { moved, ...family } = familyOf(place);
    const nowhere = { first: [], from: Number.POSITIVE_INFINITY, every: 1, until: Number.POSITIVE_INFINITY };
    return { ...nowhere, ...family, ...moved?.(settled) };
  };

  const queueAt = (index: number, settled = unsettled): QueueName<Q> | undefined => {
    for (const [queue, place] of queueEntries) {
      const { first, from, every, until } = placed(place, settled);
      if (index >= until) continue;
      const among = first.indexOf(index);
      if (among >= 0) return { name: queue, number: among };
      const steps = (index - from) / every;
      if (steps >= 0 && Number.isInteger(steps)) return { name: queue, number: first.length + steps };
    }
    return undefined;
  };

  return {
    id: declaration.id,
    name: declaration.name,
    // Filled above with exactly the declared and the reserved names.
    features: Object.freeze(features) as Readonly<Record<Name | ReservedFeatureName, number>>,
    ownFeatures: declared.map(([feature]) => feature),
    queues: declaration.queues,
    config: declaration.config ?? emptyConfig<C>(),
    configRequires: declaration.configRequires ?? {},
    driverWritable: declaration.driverWritable ?? [],
    pciClass: declaration.pciClass ?? 0xff00,
    legacy,
    keptByFrontEnds: declaration.keptByFrontEnds ?? [],
    queueIndex(queue, number = 0, settled = unsettled) {
      const { first, from, every, until } = placed(declaration.queues[queue], settled);
      const behind = number - first.length;
      const index = behind < 0 ? first[number] : from + behind * every;
      return index !== undefined && index < until ? index : undefined;
    },
    queueAt,
    queueLabel(index, settled) {
      const found = queueAt(index, settled);
      if (found === undefined) return `queue${index}`;
      const { first = [], from, numberedFrom = 1 } = familyOf<Name>(declaration.queues[found.name]);
      // More than one queue can bear the name, so that a number must tell them apart.
      const isFamily = from !== undefined || first.length > 1;
      return isFamily ? `${found.name}${found.number + numberedFrom}` : found.name;
    },
    featureNames: (set) => set.bits().map((bit) => nameOfBit.get(bit) ?? `bit${bit}`),
    featureSet: (names) =>
      FeatureSet.of(Array.from(names, (feature) => features[feature] ?? fail(`no feature ${feature}`))),
    missingRequirements(set, granted = []) {
      const has = (name: string): boolean => set.has(features[name] ?? -1);
      return requirements.filter(
        ({ feature, anyOf }) => has(feature) && !anyOf.some((name) => has(name) || granted.includes(name)),
      );
    },
  };
}

/** One name is a choice of one. */
export const oneOf = <N extends string>(names: N | readonly N[]): readonly N[] =>
  typeof names === 'string' ? [names] : names;

function emptyConfig<C extends Fields>(): Struct<C> {
  // A type that declares no configuration has no fields, so the empty structure is its Struct<C>.
  return emptyStruct as unknown as Struct<C>;
}
const emptyStruct: Struct<Record<never, never>> = struct('empty', {});
