import type { Tracer } from '../../device/trace.ts';
import { type Tracing, tracing } from '../../device/tracing.ts';
import type { Fields, Struct } from '../../spec/layout.ts';
import { fieldRegisters, RegisterBlock } from '../../spec/registers.ts';
import { ConfigSpace } from './config-space.ts';
import { firstCapabilityOffset, headerRegisters } from './pci-registers.ts';

/**
 * `tracing` for a PCI function, which knows the registers of configuration space by their names too.
 *
 * @example
 * new PciFunction(device, { memory, trace: pciTracing((event) => console.log(event)) });
 */
export function pciTracing(tracer: Tracer): Tracing {
  const plain = tracing(tracer);
  return {
    ...plain,
    register: (access, block, ...rest) =>
      plain.register(access, block instanceof ConfigSpace ? named(block) : block, ...rest),
  };
}

const named = (space: ConfigSpace) => ({ name: space.name, holding: (at: number) => nameAt(space, at) });

function nameAt({ capabilities }: ConfigSpace, offset: number): { readonly name: string } | undefined {
  if (offset < firstCapabilityOffset) return headerRegisters.holding(offset);
  const held = capabilities.find((one) => offset >= one.offset && offset < one.offset + one.size);
  if (held === undefined) return undefined;
  const within = offset - held.offset;
  const field = namesOf(held.structure).holding(within)?.name ?? `byte${within}`;
  return { name: `${held.structure.name}.${field}` };
}

const known = new WeakMap<Struct<Fields>, RegisterBlock>();

function namesOf(structure: Struct<Fields>): RegisterBlock {
  const names = known.get(structure) ?? new RegisterBlock(structure.name, fieldRegisters(structure));
  known.set(structure, names);
  return names;
}
