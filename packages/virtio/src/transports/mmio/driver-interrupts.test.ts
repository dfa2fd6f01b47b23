import { describe, expect, it } from 'vitest';
import { openSample, type Seen, settle, type Tap, tapped } from './driver.fixture.ts';
import { MmioTransport } from './driver.ts';

const inWords = (seen: readonly Seen[]): string[] =>
  seen
    .filter(({ name }) => name.startsWith('Interrupt'))
    .map(({ kind, name, value }) => `${kind} ${name} ${value}`);

/** An open device whose listener writes down what it hears, and how much the window had seen by then. */
async function listening(tap: Tap = {}) {
  const { access, device, seen } = tapped(tap);
  const transport = await MmioTransport.open(access);
  const opened = await openSample(transport);
  const heard: string[] = [];
  transport.listen({
    usedBuffer(queue) {
      heard.push(`used ${queue} after ${seen.length}`);
      opened.usedBuffer(queue);
    },
    configChange: () => void heard.push(`config after ${seen.length}`),
    gone: (error) => void heard.push(`gone: ${error.message}`),
  });
  seen.length = 0;
  const request = (): Promise<Uint8Array> => opened.queue('first').request(Uint8Array.of(), 8);
  return { device, request, seen, transport, heard };
}

describe('a driver that is interrupted', () => {
  // @holds 4.2.3.4.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Notifications From The Device
  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('reads what it is about, acknowledges just that, and tells its program', async () => {
    const { device, seen, heard } = await listening();
    device.updateConfig({ short: 1 });
    await settle();
    expect(inWords(seen)).toEqual([
      'read InterruptStatus 2',
      'write InterruptACK 2',
      'read InterruptStatus 0',
    ]);
    expect(heard).toEqual(['config after 3']);
  });

  // @holds 4.2.3.4.1 driver: Virtio Transport Options / Virtio Over MMIO / MMIO-specific Initialization And Device Operation / Notifications From The Device
  it('takes a used buffer for one of whichever queue it may be', async () => {
    const { request, seen, heard } = await listening();
    await request();
    expect(inWords(seen)).toEqual([
      'read InterruptStatus 1',
      'write InterruptACK 1',
      'read InterruptStatus 0',
    ]);
    expect(heard).toEqual(['used undefined after 4']);
  });

  // @holds 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
  it('ignores bits that mean nothing, and does not acknowledge them', async () => {
    const { device, seen, heard } = await listening({
      read: ({ name, value }) => (name === 'InterruptStatus' ? (value | 0xffff_fffc) >>> 0 : undefined),
    });
    device.updateConfig({ short: 1 });
    await settle();
    expect(seen.filter(({ name }) => name === 'InterruptACK').map(({ value }) => value)).toEqual([2]);
    expect(heard).toHaveLength(1);
  });

  it.each([
    ['the same', 1],
    ['another', 2],
  ])('misses no event between its look and its acknowledgement: %s', async (_what, bit) => {
    let meanwhile = (): void => {};
    const { device, request, seen, heard } = await listening({
      read({ name, value }) {
        if (name === 'InterruptStatus' && value !== 0) meanwhile();
        return undefined;
      },
    });
    const answers: Promise<unknown>[] = [];
    meanwhile = () => {
      meanwhile = () => {};
      answers.push(request());
    };
    if (bit === 1) answers.push(request());
    else device.updateConfig({ short: 1 });
    await settle();
    await Promise.all(answers);
    expect(answers).toHaveLength(bit === 1 ? 2 : 1);
    expect(inWords(seen).at(-1)).toBe('read InterruptStatus 0');
    expect(heard.map((one) => one.split(' ')[0])).toEqual(bit === 1 ? ['used'] : ['config', 'used']);
  });

  it('gives up a device whose interrupt never ends', async () => {
    const { device, heard } = await listening({
      read: ({ name }) => (name === 'InterruptStatus' ? 1 : undefined),
    });
    device.updateConfig({ short: 1 });
    for (let turn = 0; turn < 300; turn++) await settle();
    expect(heard.at(-1)).toMatch(/^gone: .*InterruptStatus/);
    expect(heard.length).toBeLessThan(1100);
  });

  it('hears of an interrupt that was up before it came', async () => {
    const { access, device, seen, names } = tapped();
    const opened = await openSample(await MmioTransport.open(access));
    access.listenLine(undefined);
    device.updateConfig({ short: 1 });
    await settle();
    expect(names()).not.toContain('InterruptACK');
    await MmioTransport.open(access);
    await settle();
    expect(inWords(seen)).toEqual([
      'read InterruptStatus 2',
      'write InterruptACK 2',
      'read InterruptStatus 0',
    ]);
    expect(opened.failure).toBeUndefined();
  });

  it('hears nothing more once it is closed', async () => {
    const { transport, device, seen, heard } = await listening();
    await transport.close();
    seen.length = 0;
    device.updateConfig({ short: 1 });
    await settle();
    expect([seen, heard]).toEqual([[], []]);
  });

  it('tells that its way to the device is lost', async () => {
    const { device, heard } = await listening({
      read: ({ name }) => {
        if (name === 'InterruptStatus') throw new Error('the wire is cut');
        return undefined;
      },
    });
    device.updateConfig({ short: 1 });
    await settle();
    expect(heard).toEqual(['gone: the wire is cut']);
  });
});
