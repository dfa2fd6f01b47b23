import type { Configuration } from 'virtio/testing';

export { modernOnly } from 'virtio/testing';

/** Reasons that cases share for not applying to a configuration. */
export const splitOnly = ({ packed }: Configuration): string | undefined =>
  packed ? 'the clause is about split rings' : undefined;

export const packedOnly = ({ packed }: Configuration): string | undefined =>
  packed ? undefined : 'the clause is about packed rings';

export const withIndirect = ({ indirect }: Configuration): string | undefined =>
  indirect ? undefined : 'INDIRECT_DESC is not negotiated';

export const withoutIndirect = ({ indirect }: Configuration): string | undefined =>
  indirect ? 'INDIRECT_DESC is negotiated' : undefined;

export const withEventIdx = ({ eventIdx }: Configuration): string | undefined =>
  eventIdx ? undefined : 'EVENT_IDX is not negotiated';

export const withoutEventIdx = ({ eventIdx }: Configuration): string | undefined =>
  eventIdx ? 'EVENT_IDX is negotiated' : undefined;

export const withInOrder = ({ inOrder }: Configuration): string | undefined =>
  inOrder ? undefined : 'IN_ORDER is not negotiated';

/** The first reason of several. */
export const first =
  (...rules: readonly ((configuration: Configuration) => string | undefined)[]) =>
  (configuration: Configuration): string | undefined => {
    for (const rule of rules) {
      const reason = rule(configuration);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
