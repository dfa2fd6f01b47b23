import { UsageError } from '../../errors.ts';
import type { ObjectReference } from '../../spec/resource-object.ts';
import type { Json } from '../device.ts';

/** What is kept of an administration: what its driver asked for. */
export interface SavedAdministration {
  /** The opcodes that are used with each group. */
  readonly used: readonly { readonly type: number; readonly used: readonly number[] }[];
  /** What the driver set, by the capability's id. */
  readonly capabilities: readonly (readonly [id: number, value: Uint8Array<ArrayBuffer>])[];
  /** None before one that it depends on. */
  readonly objects: readonly SavedObject[];
}

interface SavedObject extends ObjectReference {
  readonly groupType: number;
  readonly memberId: number;
  readonly flags: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export function writeState(state: SavedAdministration): Json {
  return {
    used: state.used.map(({ type, used }) => [type, ...used]),
    capabilities: state.capabilities.map(([id, value]) => [id, ...value]),
    objects: state.objects.map(({ type, id, groupType, memberId, flags, bytes }) => ({
      head: [type, id, groupType, memberId],
      flags: String(flags),
      bytes: Array.from(bytes),
    })),
  };
}

/** @throws {UsageError} BAD_STATE for anything else than what `writeState` makes. */
export function readState(state: Json): SavedAdministration {
  const { used, capabilities, objects } = Object(state);
  return {
    used: rows(used).map(([type = 0, ...opcodes]) => ({ type, used: opcodes })),
    capabilities: rows(capabilities).map(([id = 0, ...value]) => [id, Uint8Array.from(value)]),
    objects: list(objects).map((object) => {
      const { head, flags, bytes } = Object(object);
      const [type = 0, id = 0, groupType = 0, memberId = 0] = numbers(head);
      if (typeof flags !== 'string' || !/^\d{1,20}$/.test(flags)) throw bad();
      return { type, id, groupType, memberId, flags: BigInt(flags), bytes: Uint8Array.from(numbers(bytes)) };
    }),
  };
}

const rows = (value: unknown): number[][] => list(value).map(numbers);

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw bad();
  return value;
}

function numbers(value: unknown): number[] {
  return list(value).map((item) => {
    if (typeof item !== 'number' || !Number.isSafeInteger(item) || item < 0) throw bad();
    return item;
  });
}

const bad = (): UsageError => new UsageError('BAD_STATE', 'the saved state is of no administration');
