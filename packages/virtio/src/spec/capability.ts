import type { Fields, Struct, StructValue } from './layout.ts';

/** What a driver may set a field of a capability to, given what the device shows there. */
export type CapabilityRule<V> =
  /** A number up to the device's, or bits out of the device's. */
  | (V extends number | bigint ? 'limit' | 'flags' : never)
  /** Whatever this allows; for fields that are neither. */
  | ((wanted: V, offered: V) => boolean);

/** A capability (2.12.1.2): its fields, and what a driver may make of each. */
export interface CapabilityType<F extends Fields = Fields> {
  /** Below 0x1000. */
  readonly id: number;
  readonly layout: Struct<F>;
  readonly rules: { readonly [K in keyof F]: CapabilityRule<StructValue<F>[K]> };
}

/** The name of the first field that goes beyond what the device shows; `undefined` when none does. */
export function capabilityMistake<F extends Fields>(
  { layout, rules }: CapabilityType<F>,
  wanted: DataView,
  offered: DataView,
): string | undefined {
  const names: (keyof F)[] = Object.keys(layout.field);
  const wrong = names.find((name) => {
    const accessor = layout.field[name];
    return !allows(rules[name], accessor.get(wanted), accessor.get(offered));
  });
  return wrong === undefined ? undefined : String(wrong);
}

function allows<V>(rule: CapabilityRule<V>, wanted: V, offered: V): boolean {
  if (typeof rule === 'function') return rule(wanted, offered);
  return rule === 'limit' ? big(wanted) <= big(offered) : (big(wanted) & ~big(offered)) === 0n;
}

const big = (value: unknown): bigint => (typeof value === 'bigint' ? value : BigInt(Number(value)));
