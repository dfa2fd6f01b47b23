import { openEntropy } from 'virtio/devices/entropy';
import { type CcwTransport, legacyCcwDriver } from 'virtio/transports/ccw';
import { QemuCcwMachine } from 'virtio-node/qemu';
import { describe, expect, test, vi } from 'vitest';
import { exerciseDisk, exerciseEntropy, exercisePorts, machineForTests, rings } from './qemu-devices.ts';
import { qemu } from './qemu-machine.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const numbers = { blk: 0x1000, console: 0x2000, entropy: 0x3000 } as const;

/** Both rings where the revision has both, and both kinds of interrupt where QEMU has them. */
const presentations = [
  { revision: 0, properties: '' },
  { revision: 1, properties: ',packed=off' },
  { revision: 2, properties: ',packed=on' },
] as const;

describe.each(presentations)('QEMU’s s390-ccw-virtio, revision $revision', ({ revision, properties }) => {
  const on = machineForTests(
    'ccw',
    numbers,
    (devno) => `devno=fe.0.${devno.toString(16)},max_revision=${revision}${properties}`,
    async (devices) => QemuCcwMachine.start({ tool: await qemu('qemu-s390x'), ...devices }),
  );

  test('has its devices found by a search of all subchannels', () => {
    expect(on.machine.devices.map(({ devno, deviceId }) => [devno, deviceId])).toEqual([
      [numbers.blk, 2],
      [numbers.console, 3],
      [numbers.entropy, 4],
    ]);
  });

  describe.each([
    { kind: 'adapter', adapterInterrupts: true },
    { kind: 'classic', adapterInterrupts: false },
  ] as const)('with $kind interrupts', ({ kind, adapterInterrupts }) => {
    const opened = async (name: keyof typeof numbers): Promise<CcwTransport> => {
      const legacy = revision === 0 ? { legacy: legacyCcwDriver() } : {};
      const transport = await on.machine.open(numbers[name], { adapterInterrupts, ...legacy });
      expect(transport.revision).toBe(revision);
      return transport;
    };

    test('a device interrupts as it was asked to', async () => {
      const transport = await opened('entropy');
      const rng = await openEntropy(transport);
      expect(await rng.read(16)).toHaveLength(16);
      expect(transport.interrupts).toBe(kind);
      await rng.close();
    });

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
});
