import { expect, it } from 'vitest';
import { openSample, tapped } from './driver.fixture.ts';
import { pci_header, statusBit } from './pci-registers.ts';
import { savePciFunction } from './saving.ts';

/** D7: an interrupt that is acknowledged at the wrong time is lost, or its line left asserted. */
it('with INTx, a buffer used as the ISR status is read is not lost, and leaves no line up', async () => {
  const ends: (() => void)[] = [];
  let isr: { bar: number; offset: number } | undefined;
  let reads = 0;
  const serve = { first: () => new Promise<void>((resolve) => ends.push(resolve)) };
  const { open, pciFunction, errors } = tapped(
    {
      read: (seen) => {
        if (isr === undefined || seen.kind !== 'barRead') return undefined;
        if (seen.bar !== isr.bar || seen.offset !== isr.offset) return undefined;
        reads++;
        // The value is what was there; the next buffer is used while the driver has not looked at the ring.
        ends.shift()?.();
        return undefined;
      },
    },
    {},
    { serve },
  );
  const transport = await open({ vectors: 0 });
  isr = transport.capabilities.isr;
  const opened = await openSample(transport);
  const requests = Array.from({ length: 5 }, () => opened.queue('first').request(new Uint8Array(), 8));
  ends.shift()?.();
  await Promise.all(requests);
  await new Promise((resolve) => setImmediate(resolve));
  const shown = pciFunction.configRead(pci_header.field.status.offset, 2) & statusBit.INTERRUPT;
  expect([shown, savePciFunction(pciFunction).isr, ends, errors]).toEqual([0, 0, [], []]);
  expect(reads).toBeGreaterThan(1);
  await opened.close();
});
