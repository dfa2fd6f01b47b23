import type { Json } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import { isByte } from '../../spec/is-byte.ts';
import { type ConsoleSize, isConsoleSize } from './spec.ts';

/** What is saved of a port. */
export type PortState = {
  readonly id: number;
  readonly name: string;
  readonly announced: boolean;
  readonly ready: boolean;
  readonly guestOpen: boolean;
  readonly size: ConsoleSize;
  /** The bytes that wait for the guest. */
  readonly input: readonly number[];
};

/** What is saved of a control message. */
export type MessageState = {
  readonly id: number;
  readonly event: number;
  readonly value: number;
  readonly payload: readonly number[];
};

/** What is saved of all ports. */
export type PortsState = {
  readonly driverReady: boolean;
  readonly ports: readonly PortState[];
  readonly messages: readonly MessageState[];
};

/**
 * Takes JSON for what `save` gave, once every part of it was looked at: it may come from a damaged file.
 *
 * @throws {UsageError} BAD_STATE when it is anything else.
 */
export function asPortsState(state: Json): PortsState {
  if (!isPortsState(state)) throw new UsageError('BAD_STATE', 'this is not the saved state of a console');
  return state;
}

const isPortsState = (value: unknown): value is PortsState =>
  isObject(value) &&
  typeof value.driverReady === 'boolean' &&
  isArrayOf(value.ports, isPortState) &&
  isArrayOf(value.messages, isMessageState);

const isPortState = (value: unknown): value is PortState =>
  isObject(value) &&
  Number.isInteger(value.id) &&
  typeof value.name === 'string' &&
  [value.announced, value.ready, value.guestOpen].every((flag) => typeof flag === 'boolean') &&
  isObject(value.size) &&
  isConsoleSize({ cols: value.size.cols, rows: value.size.rows }) &&
  isArrayOf(value.input, isByte);

const isMessageState = (value: unknown): value is MessageState =>
  isObject(value) &&
  [value.id, value.event, value.value].every(Number.isInteger) &&
  isArrayOf(value.payload, isByte);

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const isArrayOf = <T>(value: unknown, is: (element: unknown) => element is T): value is readonly T[] =>
  Array.isArray(value) && value.every(is);
