import type { Json } from '../../device/json.ts';
import { UsageError } from '../../errors.ts';
import type { InboundState } from '../../ipsec/inbound.ts';
import type { OutboundState } from '../../ipsec/outbound.ts';

/** What an association has come to: its keys are those of its resource object. */
export interface SavedAssociation {
  readonly key: string;
  readonly outbound?: OutboundState;
  readonly inbound?: InboundState;
}

export const writeAssociationStates = (all: readonly SavedAssociation[]): Json =>
  all.map(({ key, outbound, inbound }) => ({
    key,
    ...(outbound && { outbound: [outbound.sequence, outbound.packets, outbound.bytes] }),
    ...(inbound && { inbound: [inbound.highest, inbound.packets, inbound.bytes, ...inbound.numbers] }),
  }));

/** @throws {UsageError} BAD_STATE for anything else than what `writeAssociationStates` makes. */
export function readAssociationStates(state: Json): SavedAssociation[] {
  if (!Array.isArray(state)) throw bad();
  return state.map((one) => {
    const { key, outbound, inbound } = Object(one);
    if (typeof key !== 'string') throw bad();
    if (outbound !== undefined) {
      const [sequence = 0, packets = 0, bytes = 0] = numbers(outbound);
      return { key, outbound: { sequence, packets, bytes } };
    }
    const [highest = 0, packets = 0, bytes = 0, ...seen] = numbers(inbound);
    return { key, inbound: { highest, packets, bytes, numbers: seen } };
  });
}

function numbers(value: unknown): number[] {
  if (!Array.isArray(value)) throw bad();
  return value.map((item: unknown) => {
    if (typeof item !== 'number' || !Number.isSafeInteger(item) || item < 0) throw bad();
    return item;
  });
}

const bad = (): UsageError =>
  new UsageError('BAD_STATE', 'this is not the saved state of security associations');
