import { expect, it } from 'vitest';
import { entropyDevice, openEntropy } from '../../devices/entropy/index.ts';
import type { MmioAccess } from './access.ts';
import { connectMmio } from './connect.ts';
import { MmioTransport } from './driver.ts';
import { mmioRegisters } from './registers.ts';

const { DeviceFeaturesSel, DriverFeaturesSel } = mmioRegisters.register;

/** As QEMU has it: every selector above 1 counts as 1. */
async function twoWords(): Promise<MmioAccess> {
  const device = entropyDevice({ source: (target) => target.fill(7), reserved: ['RING_PACKED'] });
  const { access } = await connectMmio(device);
  const selectors: number[] = [DeviceFeaturesSel.offset, DriverFeaturesSel.offset];
  return {
    ...access,
    write: (offset, width, value) =>
      access.write(offset, width, selectors.includes(offset) ? Math.min(value, 1) : value),
  };
}

it('leaves feature words above the second alone where the device is known to have two', async () => {
  const transport = await MmioTransport.open(await twoWords(), { deviations: ['TWO_FEATURE_WORDS'] });
  const offered = await transport.readDeviceFeatures();
  expect([offered.word(2), offered.word(3)]).toEqual([0, 0]);
  const rng = await openEntropy(transport);
  expect(await rng.read(3)).toEqual(Uint8Array.of(7, 7, 7));
});

it('is told of a device that lost what it had accepted, where that is not known', async () => {
  await expect(openEntropy(await MmioTransport.open(await twoWords()))).rejects.toThrow();
});
