/** Our shares in QEMU, served by this process over vhost-user. */
import { LentWindow } from 'virtio/vhost-user';
import { lentMemoryWindow } from 'virtio-node/files';
import { NodeDescriptors } from 'virtio-node/host';
import { afterAll, expect, test } from 'vitest';
import { NativeMachine, startQemu } from './native-machine.ts';
import { shareGuest, shareSuite } from './share-suite.ts';
import { WindowShare } from './window-work.ts';

const start = startQemu(shareGuest);

const lent = new LentWindow(0, 2 ** 25);
const window = lentMemoryWindow(lent, new NodeDescriptors());
const share = new WindowShare(window);
const windows = new Map([[share.device, [lent]]]);

const machine = shareSuite((devices) => NativeMachine.boot(start, false, { devices, windows }), {
  files: 500,
  twoGuests: false,
  beside: share.device,
});

afterAll(() => window.close());

test('files in memory are mapped into the window that QEMU shows its guest', async () => {
  await share.exercise((command) => machine().text(command));
  expect([lent.attached, lent.mappings]).toEqual([true, 1]);
  expect(machine().errors).toEqual([]);
});
