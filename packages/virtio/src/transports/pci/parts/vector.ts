import { invalidField } from '../../../device/admin/refusal.ts';
import type { PciFunctionState } from '../options.ts';
import { msix_table_entry } from '../pci-registers.ts';
import { noVector } from '../registers.ts';

/**
 * The vector, which the function must have.
 *
 * @throws {AdminRefusal} EINVAL
 */
export function vectorOf(state: PciFunctionState, vector: number): number {
  const vectors = state.msixTable.length / msix_table_entry.size;
  if (vector !== noVector && vector >= vectors) throw invalidField(`there is no vector ${vector}`);
  return vector;
}
