import type { PeerError } from '../errors.ts';
import type { DeviceType } from '../spec/device-type.ts';
import type { FeatureSet } from '../spec/features.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { chainBytes, chainElements } from '../virtqueue/chain-elements.ts';
import type { TraceEvent, Tracer } from './trace.ts';
import type { TracedBytes } from './traced-messages.ts';

/** Registers that are traced under one name. */
export interface TracedBlock {
  readonly name: string;
  /** The register that a byte belongs to; where it is none, or nobody knows, the trace shows `?`. */
  holding?(offset: number): { readonly name: string } | undefined;
}

/** What the core and a transport tell of a device, as they have it at hand; `tracing` makes events of it. */
export interface Tracing {
  /** `offset` and `width` in bytes. */
  register(access: 'read' | 'write', block: TracedBlock, offset: number, width: number, value: number): void;
  command(command: string | undefined, code: number, length: number, end: string): void;
  status(value: number): void;
  features(type: DeviceType, accepted: FeatureSet, ok: boolean): void;
  notify(queue: string): void;
  /** For a used buffer of `queue`, or for a configuration change. */
  interrupt(queue?: string): void;
  chain(queue: string, chain: Chain): void;
  complete(queue: string, chain: Chain): void;
  /** Of one queue, or of the device. */
  reset(queue?: string): void;
  violation(error: PeerError): void;
}

/**
 * Lends tracing to a device, for its transport's `trace`: whoever traces nothing carries none of this, nor of the
 * names. A PCI function is lent `pciTracing`, which knows those of configuration space as well.
 *
 * @example
 * new MmioDevice(device, { memory, trace: tracing((event) => console.log(event)) });
 */
export function tracing(tracer: Tracer): Tracing {
  const { messages } = tracer;
  let has = (_feature: string): boolean => false;
  const read = (queue: string, chain: Chain, isWritten: boolean): Pick<Message, 'message'> => {
    // A chain of before a reset may lie in memory that is no more; a big-endian guest's numbers are not the tables'.
    if (messages === undefined || !chain.live || !chain.little) return {};
    const readable = bytesOf(chain, 'readable', chain.readable.length);
    const written = isWritten ? bytesOf(chain, 'writable', chain.writable.written) : undefined;
    const message = messages({ queue, has, readable, written });
    return message.length === 0 ? {} : { message };
  };
  return {
    register: (access, block, offset, width, value) => {
      const register = block.holding?.(offset)?.name ?? '?';
      tracer({ kind: 'register', access, block: block.name, register, offset, width, value });
    },
    command: (command = '?', code, length, end) => tracer({ kind: 'command', command, code, length, end }),
    status: (value) => tracer({ kind: 'status', value }),
    features: (type, accepted, ok) => {
      has = (feature) => accepted.has(type.features[feature] ?? -1);
      tracer({ kind: 'features', accepted: type.featureNames(accepted), ok });
    },
    notify: (queue) => tracer({ kind: 'notify', queue }),
    interrupt: (queue) => tracer({ kind: 'interrupt', ...of(queue) }),
    chain: (queue, chain) => {
      const { id, readable, writable } = chain;
      const elements = chainElements(chain);
      const lengths = { readable: readable.length, writable: writable.length };
      tracer({ kind: 'chain', queue, id, ...lengths, elements, ...read(queue, chain, false) });
    },
    complete: (queue, chain) => {
      const { id, writable } = chain;
      tracer({ kind: 'complete', queue, id, written: writable.written, ...read(queue, chain, true) });
    },
    reset: (queue) => tracer({ kind: 'reset', ...of(queue) }),
    violation: (error) => tracer({ kind: 'violation', error }),
  };
}

type Message = Extract<TraceEvent, { readonly kind: 'chain' }>;

const bytesOf = (chain: Chain, side: 'readable' | 'writable', length: number): TracedBytes => ({
  length,
  bytes: (at, count) => chainBytes(chain, side, at, Math.max(0, Math.min(count, length - at))),
});

const of = (queue: string | undefined): { readonly queue?: string } => (queue === undefined ? {} : { queue });
