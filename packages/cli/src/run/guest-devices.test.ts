import { memoryStorage, openBlk, type Storage } from 'virtio/devices/blk';
import { HostError } from 'virtio/errors';
import { Loopback } from 'virtio/transports/loopback';
import { expect, it } from 'vitest';
import { makeGuestDevices } from './guest-devices.ts';

it('says on the host what lies beneath a disk that fails, and the guest hears that its request did', async () => {
  const full = new HostError('NO_SPACE', 'the disk of the host is full');
  const whole = memoryStorage(2 ** 20);
  const storage: Storage = {
    size: whole.size,
    readOnly: false,
    immediate: true,
    read: (offset, target) => whole.read(offset, target),
    write: () => {
      throw full;
    },
    flush: () => {},
  };
  const heard: unknown[] = [];
  const output = {
    terminal: () => {},
    errors: () => {},
    control: () => {},
    diskError: (device: string, error: HostError) => void heard.push([device, error]),
  };
  const { named } = makeGuestDevices([whole, storage], output, true, undefined, [], []);
  const disk = named.find(({ name }) => name === 'blk1');
  if (disk === undefined) throw new Error('there is no second disk');
  const opened = await openBlk(new Loopback(disk.device));
  await expect(opened.write(0, new Uint8Array(512))).rejects.toThrow();
  expect(heard).toEqual([['blk1', full]]);
  await opened.close();
});
