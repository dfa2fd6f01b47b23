import { buses, type Configuration, type ConformanceCase, configurationsFor } from 'virtio/testing';

/** For the records: the configurations of the matrix in which a case holds something. */
export function configurationsOf(one: { readonly statement: string }): readonly Configuration[] {
  // The records give back an element of the very list that the file exports beside this function.
  const itself = one as ConformanceCase;
  return configurationsFor(itself, buses).filter(
    (configuration) => itself.skip?.(configuration) === undefined,
  );
}
