import { describe, expect, test } from 'vitest';
import { deviceSuite } from './device-suite.ts';
import { NativeMachine, startQemu } from './native-machine.ts';

const start = startQemu();

describe.each([
  ['split', false],
  ['packed', true],
])('on %s rings', (_name, packed) => {
  const machine = deviceSuite((devices) => NativeMachine.boot(start, packed, devices), 300_000);

  test('its drivers are of the modern kind, and use those rings', async () => {
    // VERSION_1 and RING_PACKED are bits 32 and 34.
    const bits = packed ? '11' : '10';
    const features = await machine().text('cut -c33,35 /sys/bus/virtio/devices/virtio*/features');
    expect(features).toBe(`${bits}\n${bits}\n${bits}`);
  });
});
