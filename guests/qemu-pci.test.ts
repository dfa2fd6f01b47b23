import { openEntropy } from 'virtio/devices/entropy';
import type { Transport } from 'virtio/driver';
import { QemuPciMachine } from 'virtio-node/qemu';
import { describe, expect, test, vi } from 'vitest';
import { exerciseDisk, exerciseEntropy, exercisePorts, machineForTests, rings } from './qemu-devices.ts';
import { qemu } from './qemu-machine.ts';

// What waits for an answer that never comes is to be told soon: there is much to run.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const slots = { blk: 4, console: 5, entropy: 6 } as const;

/** How QEMU presents its devices, and by which interface we drive them; each is a machine of its own. */
const presentations = [
  {
    board: 'pc',
    kind: 'modern',
    properties: 'disable-legacy=on,disable-modern=off',
    prefer: 'modern',
    ids: [0x1042, 0x1043, 0x1044],
  },
  {
    board: 'q35',
    kind: 'modern, packed',
    properties: 'disable-legacy=on,disable-modern=off,packed=on',
    prefer: 'modern',
    ids: [0x1042, 0x1043, 0x1044],
  },
  {
    board: 'q35',
    kind: 'transitional, by the modern interface,',
    properties: 'disable-legacy=off,disable-modern=off,packed=on',
    prefer: 'modern',
    ids: [0x1001, 0x1003, 0x1005],
  },
  {
    board: 'pc',
    kind: 'transitional, by the legacy interface,',
    properties: 'disable-legacy=off,disable-modern=off',
    prefer: 'legacy',
    ids: [0x1001, 0x1003, 0x1005],
  },
  {
    board: 'pc',
    kind: 'legacy',
    properties: 'disable-legacy=off,disable-modern=on',
    prefer: 'modern',
    ids: [0x1001, 0x1003, 0x1005],
  },
] as const;

const interrupts = [
  { name: 'a vector for each queue', vectors: undefined, choice: 'msix' },
  { name: 'one vector for all', vectors: 1, choice: 'msix' },
  { name: 'INTx', vectors: 0, choice: 'intx' },
] as const;

describe.each(presentations)('QEMU’s $kind devices on $board', ({ board, kind, properties, prefer, ids }) => {
  const on = machineForTests(
    'pci',
    slots,
    (slot) => `addr=${slot},${properties}`,
    async (devices) => QemuPciMachine.start({ tool: await qemu('qemu-x86'), board, ...devices }),
  );

  test('is what it is said to be', async () => {
    const found = Object.values(slots).map((slot) => on.machine.function(slot).access.configRead(2, 2));
    expect(await Promise.all(found)).toEqual(ids);
    const transport: Transport = await on.machine.open(slots.entropy, { prefer });
    expect(transport.legacy !== undefined).toBe(kind.includes('legacy'));
    const rng = await openEntropy(transport);
    await rng.close();
  });

  describe.each(interrupts)('with $name', ({ vectors, choice }) => {
    const options = { prefer, ...(vectors === undefined ? {} : { vectors }) };

    test.each(rings)('the disk is read and written ($name)', async (ring) => {
      const transport = await on.machine.open(slots.blk, options);
      expect(transport.interrupts.choice).toBe(choice);
      await exerciseDisk(transport, on.image, ring);
    });

    test.each(rings)('entropy comes, as much as is asked for ($name)', async (ring) => {
      const transport = await on.machine.open(slots.entropy, options);
      expect(transport.interrupts.choice).toBe(choice);
      await exerciseEntropy(transport, ring);
    });

    test.each(rings)('ports carry bytes both ways ($name)', async (ring) => {
      const transport = await on.machine.open(slots.console, options);
      expect(transport.interrupts.choice).toBe(choice);
      await exercisePorts(transport, (name) => on.machine.machine.socket(name), ring);
    });
  });
});
