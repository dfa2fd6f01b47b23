import { posix } from 'node:path';
import type { ImportGraph } from '../source/import-graph.ts';
import type { Finding } from './finding.ts';
import { inVirtio, partOf } from './layers.ts';

/**
 * Rule 1 of the layers, its second half: the two sides never meet. Wherever a folder has a `device.ts` and a
 * `driver.ts`, neither reaches the other; what the driver's side reaches within its part never imports
 * `device/`, and the reverse; and in a device type's folder the sides share `spec` and `legacy` files alone.
 */
export function checkSides(graph: ImportGraph): Finding[] {
  const files = new Set(graph.files);
  const twins = graph.files
    .filter((file) => inVirtio(file) && posix.basename(file) === 'device.ts' && !meetsBothSides(file))
    .map((device) => ({ device, driver: posix.join(posix.dirname(device), 'driver.ts') }));
  return twins.flatMap(({ device, driver }) => [
    ...checkForeign(graph, device, 'driver'),
    ...(files.has(driver)
      ? [...checkForeign(graph, driver, 'device'), ...checkShared(graph, device, driver)]
      : []),
  ]);
}

/** The loopback joins a device and its driver in one process: meeting is its purpose. */
const meetsBothSides = (file: string): boolean => partOf(file)?.name === 'transports/loopback';

const reachable = (graph: ImportGraph, start: string): Set<string> =>
  graph.reachableFrom(start, (file) => inVirtio(file) && partOf(file)?.name === partOf(start)?.name);

function checkForeign(graph: ImportGraph, start: string, foreign: 'device' | 'driver'): Finding[] {
  const own = foreign === 'device' ? 'driver' : 'device';
  return [...reachable(graph, start)]
    .filter((file) => partOf(file)?.name !== foreign)
    .flatMap((file) => graph.importsOf(file))
    .filter(({ to }) => inVirtio(to) && partOf(to)?.name === foreign)
    .map(({ from, to, line }) => ({
      file: from,
      line,
      message: `is on the ${own}'s side (reached from ${start}) and imports ${to}: the two sides never meet`,
    }));
}

function checkShared(graph: ImportGraph, device: string, driver: string): Finding[] {
  const driverSide = reachable(graph, driver);
  const isDeviceType = partOf(device)?.name.startsWith('devices/');
  return [...reachable(graph, device)]
    .filter((file) => driverSide.has(file))
    .filter((file) => file === device || file === driver || (isDeviceType && !mayBeShared(file)))
    .map((file) => ({
      file,
      message: `is reached from both ${device} and ${driver}: they share spec.ts (spec-*.ts, legacy.ts) alone`,
    }));
}

const mayBeShared = (file: string): boolean => /^(spec(-.+)?|legacy)\.ts$/.test(posix.basename(file));
