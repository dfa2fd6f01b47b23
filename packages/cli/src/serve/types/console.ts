import { consoleDevice } from 'virtio/devices/console';
import { pump, writeTo } from '../../run/host-streams.ts';
import { type MakeDevice, nothing } from '../ready-device.ts';

export const make: MakeDevice = async ({ reserved }) => {
  const device = consoleDevice({
    reserved,
    maxPorts: 1,
    onData: (bytes) => writeTo(process.stdout, bytes),
  });
  void pump(
    process.stdin,
    (bytes) => device.console.write(bytes),
    () => {},
  ).catch(() => {});
  return { device, close: nothing };
};
