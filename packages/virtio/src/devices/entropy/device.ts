import { type Device, device } from '../../device/device.ts';
import { PeerError } from '../../errors.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { entropy } from './spec.ts';

/** The most bytes for one request, however large its buffer; also the most that `getRandomValues` gives. */
const mostBytes = 65_536;

/**
 * A source of randomness for a guest.
 *
 * @example
 * const rng = entropyDevice({ source: (target) => crypto.getRandomValues(target) });
 *
 * @spec 5.4.6.2 device: Device Types / Entropy Device / Device Operation
 */
export function entropyDevice(options: {
  /** Fills its argument, at most 64 KiB, with randomness fit for keys; may return a promise. */
  readonly source: (target: Uint8Array<ArrayBuffer>) => unknown;
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
}): Device<typeof entropy> {
  return device(entropy, {
    reserved: options.reserved,
    serve: {
      async requestq({ readable, writable }) {
        if (readable.length > 0) {
          const clause = 'driver: Device Types / Entropy Device / Device Operation';
          throw new PeerError('BAD_REQUEST', 'a device-readable buffer was offered for randomness', clause);
        }
        const random = new Uint8Array(Math.min(writable.length, mostBytes));
        await options.source(random);
        writable.write(random);
      },
    },
  });
}
