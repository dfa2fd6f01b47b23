import { createHash, randomBytes } from 'node:crypto';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { entropyDevice } from 'virtio/devices/entropy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Machine } from './v86-machine.ts';

const storage = memoryStorage(4 * 2 ** 20);
let machine: Machine;

beforeAll(async () => {
  for (let at = 0; at < storage.size; at += 65_536) storage.write(at, randomBytes(65_536));
  machine = await Machine.boot({
    devices: [
      blkDevice({ storage }),
      ...[1, 2, 3].map(() => entropyDevice({ source: (target) => crypto.getRandomValues(target) })),
    ],
    v86: { acpi: true },
    // v86 keeps what is written to the status of its general-purpose events: cleared ones fire, and Linux ejects all slots.
    append: 'acpiphp.disable=1',
  });
});

afterAll(() => machine?.stop());

test('with ACPI, interrupts go through the I/O APIC, and devices share them', async () => {
  const lines = (await machine.text('grep virtio /proc/interrupts')).split('\n');
  const names = lines.flatMap((line) => line.match(/virtio\d/g) ?? []);
  expect(names.sort()).toEqual(['virtio0', 'virtio1', 'virtio2', 'virtio3', 'virtio4']);
  expect(lines.length).toBeLessThan(names.length);
  for (const line of lines) expect(line).toMatch(/IO-APIC .*fasteoi/);
});

test('disk, console and entropy source work at a time', async () => {
  const { status, output } = await machine.exec(
    'for i in 1 2 3 4; do head -c 65536 /dev/hwrng >/dev/null & dd if=/dev/vda bs=4k iflag=direct 2>/dev/null | sha256sum & done; wait',
  );
  expect(status).toBe(0);
  const hash = createHash('sha256').update(storage.bytes).digest('hex');
  expect(output.toString()).toBe(`${hash}  -\n`.repeat(4));
  expect(await machine.text('dmesg | grep -ci "nobody cared" || true')).toBe('0');
  expect(machine.errors).toEqual([]);
});
