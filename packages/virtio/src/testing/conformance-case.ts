import type { TraceEvent } from '../device/trace.ts';
import type { Transport } from '../driver/transport.ts';
import type { VirtioError } from '../errors.ts';
import type { ClauseId } from '../spec/clauses.ts';
import type { DeviceType } from '../spec/device-type.ts';
import type { Fixture, Probe } from './fixtures/fixture.ts';
import type { BusOptions, Configuration, Connected } from './matrix.ts';

/** What every case says of itself. A case is data: a test runner, a page and the command all run the same. */
interface CaseBase {
  readonly clause: ClauseId;
  /** What must hold, in our words. */
  readonly statement: string;
  /** `bus`: what it looks at is the same whichever ring is negotiated, so that it runs once on each bus. */
  readonly scope: 'bus' | 'matrix';
  /** Where the case does not apply, and why; `undefined` where it does. */
  skip?(configuration: Configuration): string | undefined;
}

/** A device that is examined: somebody's, behind a driver-side transport. */
export interface DeviceUnderTest {
  readonly transport: Transport;
  readonly type: DeviceType;
  readonly probe: Probe;
  readonly configuration: Configuration;
  /** What the device reported; empty where a device of somebody else's cannot tell. */
  readonly events: readonly TraceEvent[];
}

/** A driver that is examined: it is let loose on devices that the case makes. */
export interface DriverUnderTest {
  readonly fixture: Fixture;
  readonly configuration: Configuration;
  /** A sound device of the fixture's, on the configuration's bus, and everything that the driver does to it. */
  connect(options?: Pick<BusOptions, 'memory' | 'allocator'>): Promise<WatchedDevice>;
  /** Runs the driver against a transport, to the end of what the fixture does. */
  exercise(transport: Transport): Promise<void>;
}

/** A sound device, and what it saw. */
export interface WatchedDevice extends Connected {
  readonly events: readonly TraceEvent[];
  readonly errors: readonly VirtioError[];
}

/** Holds a device to a clause. Rejects when the device does not keep it. */
export interface DeviceCase extends CaseBase {
  readonly side: 'device';
  run(device: DeviceUnderTest): Promise<void>;
}

/** Holds a driver to a clause. Rejects when the driver does not keep it. */
export interface DriverCase extends CaseBase {
  readonly side: 'driver';
  run(driver: DriverUnderTest): Promise<void>;
}

/** One normative statement, and how to find out whether a device or a driver keeps it. */
export type ConformanceCase = DeviceCase | DriverCase;
