import { buses } from 'virtio/testing';
import { describe } from 'vitest';
import { describeCases } from './cases.ts';
import { describeHostileDevice } from './hostile-device.ts';
import { describeHostileDriver } from './hostile-driver.ts';

/** All that the kit knows, held to our devices and drivers on one bus. */
export function describeBus(name: string): void {
  const bus = buses.find((candidate) => candidate.name === name);
  if (bus === undefined) throw new Error(`no bus is called ${name}`);
  describe(`on the ${name} bus`, () => {
    describeCases(bus);
    describeHostileDevice(bus);
    describeHostileDriver(bus);
  });
}
