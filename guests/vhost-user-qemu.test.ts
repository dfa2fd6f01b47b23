import { entropyDevice } from 'virtio/devices/entropy';
import { type GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { describe, expect } from 'vitest';
import { qemu } from './qemu-machine.ts';
import { vhostUserSuite } from './vhost-user-suite.ts';

const frontEnds: Readonly<Record<number, string>> = { 2: 'vhost-user-blk-pci', 4: 'vhost-user-rng-pci' };

describe.each([false, true])('QEMU is the front end (packed: %s)', (packed) => {
  const given: Buffer[] = [];
  vhostUserSuite({
    start: async ({ devices = [] }) =>
      QemuGuest.start({
        tool: await qemu('qemu-x86'),
        guest: await guestFiles({ machine: 'qemu' }),
        ports: 2,
        append: serialPorts('ttyS1', 'ttyS2'),
        args: devices.flatMap(({ socket, id }, index) => [
          ...['-chardev', `socket,id=ours${index},path=${socket}`],
          ...['-device', `${frontEnds[id]},chardev=ours${index},packed=${packed ? 'on' : 'off'}`],
        ]),
      }),
    packed,
    beside: {
      id: 4,
      device: entropyDevice({
        source(target) {
          crypto.getRandomValues(target);
          given.push(Buffer.from(target));
        },
      }),
      async test(session: GuestSession) {
        expect(await session.text('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0');
        given.length = 0;
        const { output, status } = await session.exec('head -c 4096 /dev/hwrng');
        expect(status).toBe(0);
        expect(output).toHaveLength(4096);
        // The driver keeps bytes of a request that was there before: what comes next is ours.
        expect(Buffer.concat(given).indexOf(output.subarray(-64))).toBeGreaterThanOrEqual(0);
      },
    },
  });
});
