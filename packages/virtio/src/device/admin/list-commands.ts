import { decodeBitmap, encodeBitmap, largestBitmap } from '../../spec/bitmap.ts';
import type { AdminCommands } from './call.ts';
import { invalidField } from './refusal.ts';

/** What a driver may send to a group. */
export interface CommandList {
  readonly supported: () => readonly number[];
  /** The driver will use these and no others. */
  readonly use: (opcodes: readonly number[]) => void;
}

/**
 * The two commands by which a driver finds out and tells which others it uses.
 *
 * @spec 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
 */
export function listCommands(list: CommandList): AdminCommands {
  return {
    LIST_QUERY: { ignoresMember: true, run: () => encodeBitmap(list.supported()) },
    LIST_USE: {
      ignoresMember: true,
      run({ data }) {
        const wanted = decodeBitmap(data.rest(largestBitmap));
        const supported = list.supported();
        const unknown = wanted.find((opcode) => !supported.includes(opcode));
        if (unknown !== undefined) throw invalidField(`command ${unknown} is not supported`);
        list.use(wanted);
        return undefined;
      },
    },
  };
}
