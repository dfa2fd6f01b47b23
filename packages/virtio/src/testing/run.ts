import type { TraceEvent } from '../device/trace.ts';
import type { Transport } from '../driver/transport.ts';
import type { VirtioError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { type ClauseId, clauses } from '../spec/clauses.ts';
import type { DeviceType } from '../spec/device-type.ts';
import { NotApplicable } from './check.ts';
import type { ConformanceCase, DeviceCase, DriverCase } from './conformance-case.ts';
import type { Fixture, Probe } from './fixtures/fixture.ts';
import {
  type Bus,
  type Configuration,
  configurationName,
  configurationsOf,
  fixtureOptionsOf,
  reservedOf,
} from './matrix.ts';

/** How one case went in one configuration: JSON. */
export interface CaseResult {
  /** The device type's name. */
  readonly subject: string;
  readonly clause: ClauseId;
  /** The clause's number in v1.4. */
  readonly number: string;
  readonly statement: string;
  readonly configuration: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it failed or was skipped. */
  readonly reason?: string;
}

/** How all cases went: JSON. */
export interface ConformanceReport {
  readonly version: 1;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly results: readonly CaseResult[];
}

/** A device of somebody's, and how to reach it. */
export interface DeviceSubject {
  readonly name: string;
  readonly type: DeviceType;
  readonly probe: Probe;
  /** As configurations are to name it: `pci`, `vhost-user`. */
  readonly bus: string;
  /** True where it is reached through the legacy interface. */
  readonly legacy?: boolean;
  /** A transport to the device, new for each case. What the device reports may be added to `events`. */
  connect(configuration: Configuration, events: TraceEvent[]): Promise<Transport>;
}

/** A driver, and a sound device for it on a bus. */
export interface DriverSubject {
  readonly fixture: Fixture;
  readonly bus: Bus;
}

/** What is to be run. */
export interface ConformanceOptions {
  readonly cases: readonly ConformanceCase[];
  readonly devices?: readonly DeviceSubject[];
  readonly drivers?: readonly DriverSubject[];
  /** Hears each result as it comes. */
  readonly onResult?: (result: CaseResult) => void;
  /** Gives up on a case that does not end; a host with a clock lends one. Without it a case may run for ever. */
  readonly limit?: <T>(work: Promise<T>) => Promise<T>;
}

/**
 * Runs every case against every device and driver of its side, in every configuration of its scope. Needs no
 * test runner.
 */
export async function runConformance(options: ConformanceOptions): Promise<ConformanceReport> {
  const { cases, devices = [], drivers = [], limit = (work) => work } = options;
  const results: CaseResult[] = [];
  const add = (result: CaseResult): void => {
    results.push(result);
    options.onResult?.(result);
  };
  for (const one of cases) {
    if (one.side === 'device') {
      for (const subject of devices) {
        for (const configuration of configurationsFor(one, [
          { name: subject.bus, legacy: subject.legacy ?? false },
        ])) {
          add(await limit(runDeviceCase(one, subject, configuration)));
        }
      }
    } else {
      for (const subject of drivers) {
        for (const configuration of configurationsFor(one, [subject.bus])) {
          add(await limit(runDriverCase(one, subject, configuration)));
        }
      }
    }
  }
  const count = (outcome: CaseResult['outcome']): number =>
    results.filter((result) => result.outcome === outcome).length;
  return { version: 1, passed: count('passed'), failed: count('failed'), skipped: count('skipped'), results };
}

/** The configurations that a case is tried in; some of them it may skip. */
export function configurationsFor(
  one: ConformanceCase,
  buses: readonly Pick<Bus, 'name' | 'legacy' | 'concurrent' | 'unordered'>[],
): readonly Configuration[] {
  return buses.flatMap((bus) => {
    const all = configurationsOf([bus]);
    if (one.scope !== 'matrix') return all.slice(0, 1);
    const cannotBeWatched = one.side === 'driver' && bus.concurrent === true;
    return cannotBeWatched ? all.filter(({ packed }) => !packed) : all;
  });
}

/** A fixture's device on a bus, as a subject for device cases. */
export function subjectOf(fixture: Fixture, bus: Bus): DeviceSubject {
  return {
    name: fixture.name,
    type: fixture.type,
    probe: fixture.probe,
    bus: bus.name,
    legacy: bus.legacy ?? false,
    async connect(configuration, events) {
      const trace = (event: TraceEvent): void => void events.push(event);
      const device = fixture.make(reservedOf(configuration));
      return (await bus.connect(device, { trace, memory: GuestMemory.ofSize(2 ** 18) })).transport;
    },
  };
}

/** Holds one device to one case. */
export async function runDeviceCase(
  one: DeviceCase,
  subject: DeviceSubject,
  configuration: Configuration,
): Promise<CaseResult> {
  const { name, type, probe } = subject;
  return outcomeOf(one, name, configuration, async () => {
    const events: TraceEvent[] = [];
    const transport = await subject.connect(configuration, events);
    try {
      await one.run({ transport, type, probe, configuration, events });
    } finally {
      await transport.close();
    }
  });
}

/** Holds one driver to one case. */
export async function runDriverCase(
  one: DriverCase,
  subject: DriverSubject,
  configuration: Configuration,
): Promise<CaseResult> {
  const { fixture, bus } = subject;
  return outcomeOf(one, fixture.name, configuration, () =>
    one.run({
      fixture,
      configuration,
      async connect(options = {}) {
        const events: TraceEvent[] = [];
        const errors: VirtioError[] = [];
        const connected = await bus.connect(fixture.make(reservedOf(configuration)), {
          memory: smallMemory(),
          ...options,
          trace: (event) => void events.push(event),
          onError: (error) => void errors.push(error),
        });
        return { ...connected, events, errors };
      },
      exercise: (transport) => fixture.exercise(transport, fixtureOptionsOf(configuration)),
    }),
  );
}

/** Enough for every fixture; thousands are made. */
const smallMemory = (): GuestMemory => GuestMemory.ofSize(2 ** 21);

async function outcomeOf(
  one: ConformanceCase,
  subject: string,
  configuration: Configuration,
  run: () => Promise<void>,
): Promise<CaseResult> {
  const { clause, statement } = one;
  const base = {
    subject,
    clause,
    number: clauses[clause].number,
    statement,
    configuration: configurationName(configuration),
  };
  const skip = one.skip?.(configuration);
  if (skip !== undefined) return { ...base, outcome: 'skipped', reason: skip };
  try {
    await run();
    return { ...base, outcome: 'passed' };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...base, outcome: error instanceof NotApplicable ? 'skipped' : 'failed', reason };
  }
}
