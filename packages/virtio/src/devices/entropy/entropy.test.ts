import { describe, expect, it } from 'vitest';
import { device } from '../../device/device.ts';
import { open } from '../../driver/open.ts';
import type { OpenQueue } from '../../driver/queue.ts';
import { VirtioError } from '../../errors.ts';
import { status } from '../../spec/status.ts';
import { loopbackBus } from '../../testing/buses.ts';
import { entropyFixture } from '../../testing/fixtures/entropy.ts';
import { configurationName, configurationsOf, fixtureOptionsOf, reservedOf } from '../../testing/matrix.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { entropyDevice, openEntropy } from './index.ts';
import { entropy } from './spec.ts';

const ones = (target: Uint8Array): void => void target.fill(1);

describe('the entropy device and its driver', () => {
  for (const configuration of configurationsOf([loopbackBus])) {
    it(`deliver every byte in order: ${configurationName(configuration)}`, async () => {
      const reserved = reservedOf(configuration);
      const transport = new Loopback(entropyFixture.make(reserved));
      await expect(
        entropyFixture.exercise(transport, fixtureOptionsOf(configuration)),
      ).resolves.toBeUndefined();
    });
  }
});

describe('entropyDevice', () => {
  async function bare(source: (target: Uint8Array) => unknown) {
    const errors: VirtioError[] = [];
    const transport = new Loopback(entropyDevice({ source }), {
      onError: (error) => void errors.push(error),
    });
    const opened = await open(transport, entropy, { features: [] });
    return { transport, requestq: opened.queue('requestq'), errors };
  }

  const request = (queue: OpenQueue, readable: number, writable: readonly number[]): Promise<number> =>
    new Promise((resolve, reject) => {
      const element = (length: number) => ({ address: queue.allocator.allocate(length), length });
      queue.submit(readable > 0 ? [element(readable)] : [], writable.map(element), (written, failure) =>
        failure === undefined ? resolve(written) : reject(failure),
      );
    });

  // @holds 5.4.6.2 device: Device Types / Entropy Device / Device Operation
  it('fills a buffer across its elements, and no more than 64 KiB of it', async () => {
    const { requestq } = await bare(ones);
    expect(await request(requestq, 0, [1])).toBe(1);
    expect(await request(requestq, 0, [10, 1, 21])).toBe(32);
    expect(await request(requestq, 0, [2 ** 20, 2 ** 20])).toBe(65_536);
  });

  it('waits for a source that takes its time', async () => {
    const { requestq } = await bare(async (target) => {
      await Promise.resolve();
      target.fill(2);
    });
    expect(await requestq.request(new Uint8Array(), 4)).toEqual(Uint8Array.of(2, 2, 2, 2));
  });

  it('needs a reset after a device-readable buffer, and works again after it', async () => {
    const { transport, requestq, errors } = await bare(ones);
    const lost = request(requestq, 8, [8]);
    await expect(lost).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(transport.core.status & status.DEVICE_NEEDS_RESET).not.toBe(0);
    expect(errors).toMatchObject([
      { code: 'BAD_REQUEST', clause: 'driver: Device Types / Entropy Device / Device Operation' },
    ]);
    const again = await openEntropy(transport);
    expect(await again.read(2)).toEqual(Uint8Array.of(1, 1));
  });

  it('needs a reset when its source fails, and says why', async () => {
    const cause = new Error('no more randomness');
    const { requestq, errors } = await bare(() => Promise.reject(cause));
    await expect(request(requestq, 0, [8])).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(errors).toMatchObject([{ code: 'IO_ERROR', cause }]);
  });

  it('ignores what a source gives after a reset', async () => {
    let finish = (): void => {};
    const errors: VirtioError[] = [];
    const rng = entropyDevice({
      source: (target) => {
        target.fill(3);
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
    });
    const transport = new Loopback(rng, { onError: (error) => void errors.push(error) });
    const opened = await openEntropy(transport);
    const lost = opened.read(4);
    await transport.writeStatus(0);
    finish();
    const late = await openEntropy(transport);
    const read = late.read(4);
    finish();
    expect(await read).toEqual(Uint8Array.of(3, 3, 3, 3));
    await opened.close();
    await expect(lost).rejects.toBeInstanceOf(VirtioError);
    expect(errors).toEqual([]);
  });
});

describe('openEntropy', () => {
  // @holds 5.4.6.1 driver: Device Types / Entropy Device / Device Operation
  it('offers device-writable buffers alone, and takes of each what the device says it has written', async () => {
    let next = 0;
    const sparing = device(entropy, {
      serve: {
        requestq({ readable, writable }) {
          expect(readable.length).toBe(0);
          for (let count = Math.min(3, writable.length); count > 0; count--) writable.u8(next++);
        },
      },
    });
    const rng = await openEntropy(new Loopback(sparing));
    expect(await rng.read(8)).toEqual(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  });

  it('gives up on a device that returns buffers empty', async () => {
    const rng = await openEntropy(new Loopback(device(entropy, { serve: { requestq() {} } })));
    await expect(rng.read(8)).rejects.toMatchObject({
      code: 'BAD_RESPONSE',
      clause: 'device: Device Types / Entropy Device / Device Operation',
    });
  });
});
