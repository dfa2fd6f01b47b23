import type { ClauseId } from 'virtio/spec/clauses';
import type { Configuration } from 'virtio/testing';

/** What somebody else's device is known to do otherwise than the specification has it. */
export interface KnownDeviation {
  /** The clause that it does not keep; `undefined` where the text says so without a clause. */
  readonly clause: ClauseId | undefined;
  /** Number of the chapter in v1.4. */
  readonly number: string;
  /** The statement of the conformance case that sees it, or of a test of its own. */
  readonly statement: string;
  /** The device types at which it is seen, by the names of their fixtures. */
  readonly devices: readonly string[];
  /** Where it is seen: everywhere unless told. */
  where?(configuration: Configuration): boolean;
  /** What it does. */
  readonly does: string;
  /** What the case says when it sees it. */
  readonly seen: RegExp;
  /** It does not answer any more: there is nothing to be seen but that the case never ends. */
  readonly hangs?: boolean;
  /** Whether it is seen depends on how quick the device's threads are: one configuration that shows it is enough. */
  readonly races?: boolean;
  /** The version at which this was seen last. */
  readonly version: string;
}

/** The record that explains a failure of a case, if there is one. */
export function knownDeviation(
  records: readonly KnownDeviation[],
  failure: { readonly clause: ClauseId; readonly statement: string; readonly device: string },
  configuration: Configuration,
): KnownDeviation | undefined {
  return records.find(
    ({ clause, statement, devices, where }) =>
      clause === failure.clause &&
      statement === failure.statement &&
      devices.includes(failure.device) &&
      (where === undefined || where(configuration)),
  );
}
