import type { Device } from '../../device/device.ts';
import { restoreDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import type { Transport } from '../../driver/transport.ts';
import { Loopback } from './loopback.ts';

/**
 * A guest's transport whose device is saved as JSON and goes on as another device, as when a machine's
 * snapshot starts in another process.
 */
export function movable(first: Loopback): { transport: Transport; move(device: Device): Loopback } {
  let current = first;
  let listener: Parameters<Transport['listen']>[0];
  const transport: Transport = {
    deviceId: first.deviceId,
    memory: first.memory,
    allocator: first.allocator,
    carries: first.carries,
    readDeviceFeatures: () => current.readDeviceFeatures(),
    writeDriverFeatures: (features) => current.writeDriverFeatures(features),
    readStatus: () => current.readStatus(),
    writeStatus: (value) => current.writeStatus(value),
    readConfig: (offset, length) => current.readConfig(offset, length),
    writeConfig: (offset, bytes) => current.writeConfig(offset, bytes),
    configGeneration: () => current.configGeneration(),
    queueMaxSize: (index) => current.queueMaxSize(index),
    enableQueue: (index, areas) => current.enableQueue(index, areas),
    resetQueue: (index) => current.resetQueue(index),
    kick: (index) => current.kick(index),
    listen(next) {
      listener = next;
      current.listen(next);
    },
    close: () => current.close(),
  };
  return {
    transport,
    move(device) {
      const state: DeviceState = JSON.parse(JSON.stringify(current.save()));
      current.listen(undefined);
      current = new Loopback(device, { memory: first.memory, allocator: first.allocator });
      current.listen(listener);
      restoreDevice(current.core, state);
      current.core.resume();
      return current;
    },
  };
}
