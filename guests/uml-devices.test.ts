/** Our devices in user-mode Linux, served by this process over vhost-user. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { describe, expect, test } from 'vitest';
import { deviceSuite } from './device-suite.ts';
import { NativeMachine } from './native-machine.ts';

const start = async (options: NativeGuestOptions): Promise<UmlMachine> =>
  UmlMachine.start({ ...options, guest: await guestFiles({ machine: 'uml' }) });

describe.each([
  ['split', false],
  ['packed', true],
])('on %s rings', (_name, packed) => {
  // Debian builds it without virtio_rng.
  const machine = deviceSuite((devices) => NativeMachine.boot(start, packed, devices), 4_000_000, false);

  test('its drivers are of the modern kind, and use those rings', async () => {
    // VERSION_1 and RING_PACKED are bits 32 and 34.
    const bits = packed ? '11' : '10';
    const features = await machine().text('cut -c33,35 /sys/bus/virtio/devices/virtio[01]/features');
    expect(features).toBe(`${bits}\n${bits}`);
  });
});
