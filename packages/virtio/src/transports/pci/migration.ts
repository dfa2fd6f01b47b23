import type { Json } from '../../device/device.ts';
import type { DeviceState, SavedQueue } from '../../device/state.ts';
import { UsageError } from '../../errors.ts';
import { decodeUtf8, encodeUtf8 } from '../../spec/utf8.ts';
import type { PciFunction } from './device.ts';
import type { PciFunctionState } from './options.ts';
import { restorePciFunction, savePciFunction } from './saving.ts';
import { startPciFunction, stopPciFunction } from './stopping.ts';

/** A function that somebody moves to another process: to be stopped, carried over as bytes, and started there. */
export interface PciMigration {
  /** Settles when the function does nothing any more. */
  stop(): Promise<void>;
  go(): void;
  /** The state of a function that is stopped. */
  save(): Uint8Array<ArrayBuffer>;
  /**
   * Gives the function a state that may come from anybody; it stays stopped until `go`.
   *
   * @throws {UsageError} BAD_STATE when the bytes are no state of such a function: this one is reset then.
   */
  restore(bytes: Uint8Array): void;
}

/**
 * Moves a function by its state as JSON, for hosts that have a protocol for that: `migration` of a vfio-user server.
 *
 * @example
 * new VfioUserServer({ descriptors, migration: pciMigration }, makeFunction);
 */
export function pciMigration(pciFunction: PciFunction): PciMigration {
  return {
    stop: () => stopPciFunction(pciFunction),
    go: () => startPciFunction(pciFunction),
    save: () => encodeUtf8(JSON.stringify(savePciFunction(pciFunction))),
    restore(bytes) {
      try {
        const given: unknown = JSON.parse(decodeUtf8(bytes));
        restorePciFunction(pciFunction, checked(given, savePciFunction(pciFunction)));
      } catch (cause) {
        pciFunction.reset();
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new UsageError('BAD_STATE', `this is no state of such a PCI function: ${why}`);
      }
    },
  };
}

type Given = Readonly<Record<string, unknown>>;

/** The state, once it is sure that it has the shape of the function's own. */
function checked(value: unknown, own: PciFunctionState): PciFunctionState {
  const given = record(value, 'state');
  const core = record(given.core, 'core');
  const config = record(core.config, 'core.config');
  const { legacy } = core;
  if (legacy !== undefined && legacy !== 'used' && legacy !== 'early') no('core.legacy');
  const queues: readonly unknown[] = Array.isArray(core.queues) ? core.queues : [];
  if (queues.length !== own.core.queues.length) no('core.queues');
  const device: DeviceState = {
    type: whole(core.type, 'core.type'),
    status: whole(core.status, 'core.status', 0xff),
    driverFeatures: list(core.driverFeatures, 'core.driverFeatures', own.core.driverFeatures.length, word),
    config: {
      bytes: list(config.bytes, 'core.config.bytes', own.core.config.bytes.length, 0xff),
      generation: whole(config.generation, 'core.config.generation', word),
    },
    pendingConfig: core.pendingConfig === true,
    ...(legacy === undefined ? {} : { legacy }),
    ...(core.suspending === true ? { suspending: true } : {}),
    queues: own.core.queues.map((queue, i) => checkedQueue(record(queues[i], `queue ${i}`), queue)),
    device: json(core.device),
    ...(own.core.administration === undefined ? {} : { administration: json(core.administration) }),
  };
  return {
    stopped: true,
    config: list(given.config, 'config', own.config.length, 0xff),
    isr: whole(given.isr, 'isr', 0xff),
    configVector: whole(given.configVector, 'configVector', 0xffff),
    queueVectors: list(given.queueVectors, 'queueVectors', own.queueVectors.length, 0xffff),
    msixTable: list(given.msixTable, 'msixTable', own.msixTable.length, 0xff),
    msixPending: list(given.msixPending, 'msixPending', own.msixPending.length, 0xff),
    deviceFeatureSelect: whole(given.deviceFeatureSelect, 'deviceFeatureSelect', word),
    driverFeatureSelect: whole(given.driverFeatureSelect, 'driverFeatureSelect', word),
    queueSelect: whole(given.queueSelect, 'queueSelect', 0xffff),
    generation: whole(given.generation, 'generation', word),
    core: device,
  };
}

/** A function that was stopped has given back all that it took, so no chain is in flight. */
function checkedQueue(given: Given, own: SavedQueue): SavedQueue {
  const ring = given.ring === null ? null : record(given.ring, 'ring');
  const enabled = given.enabled === true;
  if (ring !== null && !enabled) no('the ring of a queue that is not enabled');
  return {
    maxSize: own.maxSize,
    size: whole(given.size, 'size', own.maxSize),
    descriptor: whole(given.descriptor, 'descriptor'),
    driver: whole(given.driver, 'driver'),
    device: whole(given.device, 'device'),
    enabled,
    ring: ring && {
      nextAvailable: whole(ring.nextAvailable, 'nextAvailable', 0xffff),
      nextUsed: whole(ring.nextUsed, 'nextUsed', 0xffff),
      availableWrap: bit(ring.availableWrap, 'availableWrap'),
      usedWrap: bit(ring.usedWrap, 'usedWrap'),
      inFlight: list(ring.inFlight, 'inFlight', 0, 0) && [],
    },
  };
}

const word = 2 ** 32 - 1;

function no(what: string): never {
  throw new UsageError('BAD_STATE', `${what} cannot be`);
}

function record(value: unknown, what: string): Given {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) no(what);
  return { ...value };
}

function whole(value: unknown, what: string, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) no(what);
  return value;
}

function bit(value: unknown, what: string): 0 | 1 {
  return whole(value, what, 1) === 1 ? 1 : 0;
}

function list(value: unknown, what: string, length: number, most: number): number[] {
  if (!Array.isArray(value) || value.length !== length) no(what);
  return value.map((one) => whole(one, what, most));
}

/** What the device's own code looks at for itself. */
function json(value: unknown): Json {
  // It was parsed from JSON.
  return (value ?? null) as Json;
}
