import { open } from '../../driver/open.ts';
import type { OpenOptions } from '../../driver/options.ts';
import type { Transport } from '../../driver/transport.ts';
import { PeerError } from '../../errors.ts';
import { entropy } from './spec.ts';

/** The most bytes to ask for in one request. */
const mostBytes = 65_536;

/** An entropy device that is open. */
export interface OpenEntropy {
  /**
   * Exactly `length` random bytes: as many requests as that takes.
   *
   * @throws {PeerError} BAD_RESPONSE when the device returns a buffer without a byte in it.
   * @throws {HostError} DEVICE_GONE when the device is closed meanwhile.
   */
  read(length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/**
 * Opens an entropy device.
 *
 * @throws what `open` throws.
 * @spec 5.4.6.1 driver: Device Types / Entropy Device / Device Operation
 */
export async function openEntropy(
  transport: Transport,
  options: Pick<OpenOptions<typeof entropy>, 'reserved' | 'indirectPolicy' | 'onFailure'> = {},
): Promise<OpenEntropy> {
  const device = await open(transport, entropy, { ...options, features: [] });
  const requestq = device.queue('requestq');
  return {
    async read(length) {
      const random = new Uint8Array(length);
      for (let filled = 0; filled < length; ) {
        const part = await requestq.request(new Uint8Array(), Math.min(length - filled, mostBytes));
        if (part.length === 0) {
          const clause = 'device: Device Types / Entropy Device / Device Operation';
          throw new PeerError('BAD_RESPONSE', 'the entropy device gave no byte', clause);
        }
        random.set(part, filled);
        filled += part.length;
      }
      return random;
    },
    close: () => device.close(),
  };
}
