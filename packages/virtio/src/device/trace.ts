import type { PeerError } from '../errors.ts';
import type { ChainElement } from '../virtqueue/chain-elements.ts';
import type { MessageReader, TracedStructure } from './traced-messages.ts';

/** What can be seen at the seam between a driver and a device. Every name comes from our tables. */
export type TraceEvent =
  /** A register of the transport was read or written; `register` is its name, or `?` for a hole. */
  | {
      readonly kind: 'register';
      readonly access: 'read' | 'write';
      /** The register block: `common`, `isr`, `config`… */
      readonly block: string;
      readonly register: string;
      readonly offset: number;
      /** Bytes. */
      readonly width: number;
      readonly value: number;
    }
  /** The driver issued a channel command; `command` is its name, or `?`, and `length` the bytes that it moved. */
  | {
      readonly kind: 'command';
      readonly command: string;
      readonly code: number;
      readonly length: number;
      readonly end: string;
    }
  | { readonly kind: 'status'; readonly value: number }
  | { readonly kind: 'features'; readonly accepted: readonly string[]; readonly ok: boolean }
  /** The driver's available buffer notification. */
  | { readonly kind: 'notify'; readonly queue: string }
  /** The device's notification: for a used buffer of `queue`, or for a configuration change. */
  | { readonly kind: 'interrupt'; readonly queue?: string }
  /** The device took a chain; `readable` and `writable` are bytes, `elements` its descriptors. */
  | {
      readonly kind: 'chain';
      readonly queue: string;
      readonly id: number;
      readonly readable: number;
      readonly writable: number;
      readonly elements: readonly ChainElement[];
      /** What the driver wrote, as far as the tracer's `messages` knows it. */
      readonly message?: readonly TracedStructure[];
    }
  | {
      readonly kind: 'complete';
      readonly queue: string;
      readonly id: number;
      readonly written: number;
      /** What the device wrote, likewise. */
      readonly message?: readonly TracedStructure[];
    }
  | { readonly kind: 'reset'; readonly queue?: string }
  /** The driver broke the specification. */
  | { readonly kind: 'violation'; readonly error: PeerError };

/** Receives each event as it happens. It must not throw, and must not touch the device. */
export interface Tracer {
  (event: TraceEvent): void;
  /** Names what is in messages: the reader of a device type, such as `blkMessages`, set by {@link withMessages}. */
  readonly messages?: MessageReader | undefined;
}

/** A tracer that is told what is in the messages of a device type, too. */
export function withMessages(tracer: Tracer, messages: MessageReader | undefined): Tracer {
  return Object.assign((event: TraceEvent): void => tracer(event), { messages });
}
