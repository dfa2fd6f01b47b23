import type { Transport } from 'virtio/driver';
import { MmioTransport, openMmio } from 'virtio/transports/mmio';
import { QemuMmioMachine, qemuMmioDeviations } from 'virtio-node/qemu';
import { describe, expect, test, vi } from 'vitest';
import { qemuKnownDeviations } from '../conformance/known-deviations/qemu.ts';
import { exerciseDisk, exerciseEntropy, exercisePorts, machineForTests, rings } from './qemu-devices.ts';
import { qemu } from './qemu-machine.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const numbers = { blk: 0, console: 3, entropy: 7 } as const;

const presentations = [
  { board: 'virt', tool: 'qemu-arm', version: 2, kind: 'split', properties: 'packed=off' },
  { board: 'virt', tool: 'qemu-arm', version: 2, kind: 'packed', properties: 'packed=on' },
  { board: 'microvm', tool: 'qemu-x86', version: 2, kind: 'packed', properties: 'packed=on' },
  { board: 'virt', tool: 'qemu-arm', version: 1, kind: 'legacy', properties: 'packed=off' },
  { board: 'microvm', tool: 'qemu-x86', version: 1, kind: 'legacy', properties: 'packed=off' },
] as const;

describe.each(presentations)('QEMU’s $board, version $version, $kind', (presentation) => {
  const on = machineForTests(
    'device',
    numbers,
    (number) => `bus=virtio-mmio-bus.${number},${presentation.properties}`,
    async (devices) => {
      const { board, version } = presentation;
      return QemuMmioMachine.start({
        tool: await qemu(presentation.tool),
        board,
        legacy: version !== 2,
        ...devices,
      });
    },
  );

  const opened = async (name: keyof typeof numbers): Promise<Transport> =>
    openMmio(on.machine.window(numbers[name]), { deviations: qemuMmioDeviations });

  test('shows nothing behind an empty window', async () => {
    await expect(openMmio(on.machine.window(1))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  test('is what it is said to be', async () => {
    const transport = await opened('entropy');
    expect(transport.legacy === undefined ? 2 : 1).toBe(presentation.version);
    await transport.close();
  });

  // The legacy interface has one word.
  if (presentation.version === 2) {
    test('known: selectors of features above 1 count as 1', async () => {
      const record = qemuKnownDeviations.find(({ statement }) => statement.startsWith('shows and takes'));
      const transport = await MmioTransport.open(on.machine.window(numbers.entropy));
      try {
        const features = await transport.readDeviceFeatures();
        expect(features.word(1)).not.toBe(0);
        // When they are 0, the record is to be removed, and TWO_FEATURE_WORDS with it.
        expect([features.word(2), features.word(3)], record?.does).toEqual([
          features.word(1),
          features.word(1),
        ]);
        expect(record?.clause).toBeUndefined();
      } finally {
        await transport.close();
      }
    });
  }

  test.each(rings)('the disk is read and written ($name)', async (ring) => {
    await exerciseDisk(await opened('blk'), on.image, ring);
  });

  test.each(rings)('entropy comes, as much as is asked for ($name)', async (ring) => {
    await exerciseEntropy(await opened('entropy'), ring);
  });

  test.each(rings)('ports carry bytes both ways ($name)', async (ring) => {
    await exercisePorts(await opened('console'), (name) => on.machine.machine.socket(name), ring);
  });
});
