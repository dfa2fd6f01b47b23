import { consoleDevice } from 'virtio/devices/console';
import { attach } from 'virtio-v86';
import { expect, test } from 'vitest';
import { deviceSuite } from './device-suite.ts';
import { Machine } from './v86-machine.ts';

const machine = deviceSuite((devices) => Machine.boot(devices), 10_000_000);

test('the PCI listing is that of three modern functions, and nothing of legacy virtio', async () => {
  const listing = await machine().text(
    `cd /sys/bus/pci/devices; for d in $(grep -lx 0x1af4 */vendor); do cd $(dirname $d)
     echo $(basename $PWD) $(cat device class revision subsystem_vendor subsystem_device irq) $(basename $(readlink driver))
     cd ..; done`,
  );
  expect(listing.split('\n')).toEqual([
    '0000:00:10.0 0x1043 0x078000 0x01 0x1af4 0x1043 11 virtio-pci',
    '0000:00:11.0 0x1042 0x010000 0x01 0x1af4 0x1042 10 virtio-pci',
    '0000:00:13.0 0x1044 0xff0000 0x01 0x1af4 0x1044 11 virtio-pci',
  ]);
  // One I/O BAR each; VERSION_1 is bit 32 of what was negotiated.
  expect(await machine().text('grep -c virtio-pci-modern /proc/ioports')).toBe('3');
  expect(await machine().text('for f in /sys/bus/virtio/devices/*/features; do cut -c33 $f; done')).toBe(
    '1\n1\n1',
  );
  // Only virtio's own capabilities: MSI does not exist in v86, and the functions do not pretend.
  const { output: config } = await machine().exec('cat /sys/bus/pci/devices/0000:00:11.0/config');
  expect(config).toHaveLength(256);
  const structures: number[] = [];
  for (let at = config[0x34]!; at !== 0; at = config[at + 1]!) {
    expect(config[at]).toBe(9);
    structures.push(config[at + 3]!);
  }
  expect(structures.sort()).toEqual([1, 2, 3, 4, 5]);
});

test('a device that is attached to a running guest is found by a rescan, used, let go of and detached', async () => {
  let heard = '';
  const hear = (bytes: Uint8Array): void => {
    heard += Buffer.from(bytes).toString();
  };
  const late = consoleDevice({
    ports: [{ name: 'org.example.late', onData: hear }],
  });
  const attachment = attach(machine().emulator, late, { slot: 25 });
  await attachment.ready;
  expect(attachment.slot).toBe(25);
  const say = (word: string): string =>
    `until n=$(grep -lx org.example.late /sys/class/virtio-ports/*/name); do sleep 0.1; done
     echo ${word} >/dev/$(basename $(dirname $n))`;
  await machine().text(`echo 1 >/sys/bus/pci/rescan; ${say('hello')}`);
  expect(heard).toBe('hello\n');
  // The driver of a console lets go of its ports and takes them up again.
  await machine().text(
    `cd /sys/bus/virtio/drivers/virtio_console; d=$(ls -d virtio* | tail -1)
     echo $d >unbind; echo $d >bind; ${say('again')}`,
  );
  expect(heard).toBe('hello\nagain\n');
  await machine().text('echo 1 >/sys/bus/pci/devices/0000:00:19.0/remove');
  attachment.detach();
  expect(attachment.slot).toBeUndefined();
  expect(
    await machine().text('echo 1 >/sys/bus/pci/rescan; ls /sys/bus/pci/devices | grep -c 19.0 || true'),
  ).toBe('0');
  expect(machine().errors).toEqual([]);
});
