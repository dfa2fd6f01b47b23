import { PeerError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import { status, statusNames } from '../spec/status.ts';
import type { Transport } from './transport.ts';

/** How often the status is read while the device completes a reset or a suspend. */
const statusTries = 1000;

/**
 * Resets the device, and waits until it says that it is.
 *
 * @throws {PeerError} RESET_INCOMPLETE when it does not.
 * @spec 2.4.2 driver: Basic Facilities of a Virtio Device / Device Reset
 */
export async function resetDevice(transport: Transport): Promise<void> {
  await transport.writeStatus(0);
  await waitForStatus(transport, (value) => value === 0, 'reset');
}

/**
 * Reads the device status until it is as it should be.
 *
 * @throws {PeerError} RESET_INCOMPLETE when it does not come to that; `what` says what was asked.
 */
export async function waitForStatus(
  transport: Transport,
  reached: (value: number) => boolean,
  what: string,
): Promise<void> {
  let value = 0;
  for (let tries = 0; tries < statusTries; tries++) {
    value = await transport.readStatus();
    if (reached(value)) return;
    if ((value & status.DEVICE_NEEDS_RESET) !== 0 && what !== 'reset') break;
  }
  throw new PeerError(
    'RESET_INCOMPLETE',
    `the device did not ${what}; its status is ${statusNames(value).join('|')}`,
    deviceMistakes.RESET_INCOMPLETE,
  );
}
