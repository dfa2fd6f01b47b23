import { configurationName, type DriverUnderTest, DriverWatch, type Fixture } from 'virtio/testing';

const runs = new WeakMap<Fixture, Map<string, Promise<DriverWatch>>>();

/** One watched run of the whole fixture against a sound device, shared by the cases that only look at it. */
export function watched(driver: DriverUnderTest): Promise<DriverWatch> {
  const ofFixture = runs.get(driver.fixture) ?? new Map<string, Promise<DriverWatch>>();
  runs.set(driver.fixture, ofFixture);
  const name = configurationName(driver.configuration);
  const run = ofFixture.get(name) ?? watch(driver);
  ofFixture.set(name, run);
  return run;
}

async function watch(driver: DriverUnderTest): Promise<DriverWatch> {
  const { transport } = await driver.connect();
  const made = new DriverWatch(transport);
  await driver.exercise(made.transport);
  return made;
}
