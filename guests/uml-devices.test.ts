/**
 * Our devices in user-mode Linux, served by this process over vhost-user, or by `virtio serve`. Debian builds that kernel
 * without a driver of entropy, so it is one that is built here.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  builtUmlKernel,
  cacheFolder,
  GuestSession,
  guestFiles,
  type NativeGuestOptions,
  serialPorts,
} from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { beforeAll, describe, expect, test } from 'vitest';
import { CommandRun } from './cli-command.ts';
import { deviceSuite } from './device-suite.ts';
import { NativeMachine } from './native-machine.ts';

let linux: string;

// A source of 164 MB is fetched and compiled where it was not before, by whatever is left of a busy machine.
beforeAll(async () => {
  linux = await builtUmlKernel({
    progress: ({ step, detail, fraction = 0 }) => {
      if (fraction === 0) process.stderr.write(`${step} ${detail}\n`);
    },
  });
}, 1_800_000);

const start = async (options: NativeGuestOptions): Promise<UmlMachine> => {
  const { initrd } = await guestFiles({ machine: 'uml' });
  return UmlMachine.start({ ...options, guest: { linux, initrd } });
};

describe.each([
  ['split', false],
  ['packed', true],
])('on %s rings', (_name, packed) => {
  const machine = deviceSuite((devices) => NativeMachine.boot(start, packed, devices), 4_000_000);

  // VERSION_1 and RING_PACKED are bits 32 and 34.
  const bits = packed ? '11' : '10';

  test('its drivers are of the modern kind, and use those rings', async () => {
    const features = await machine().text('cut -c33,35 /sys/bus/virtio/devices/virtio[012]/features');
    expect(features).toBe(`${bits}\n${bits}\n${bits}`);
  });

  test('it comes back to `virtio serve entropy` that was killed and started again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'virtio-again-'));
    const socket = join(folder, 'entropy.sock');
    const serve = async (): Promise<CommandRun> => {
      const ring = packed ? [] : ['--no-packed'];
      const args = ['serve', 'entropy', '--socket-path', socket, '--json', ...ring];
      const run = new CommandRun(args, cacheFolder());
      await run.reports('"listening"');
      return run;
    };
    let served = await serve();
    const again = async (): Promise<void> => {
      served.kill('SIGKILL');
      await served.end();
      served = await serve();
    };
    const guest = await start({
      devices: [{ socket, id: 4 }],
      ...{ ports: 2, append: serialPorts('ttyS0', 'ttyS1') },
    });
    const session = new GuestSession(guest);
    const current = 'cat /sys/class/misc/hw_random/rng_current';
    const reads = `${current}; cut -c33,35 /sys/bus/virtio/devices/*/features; head -c 5000 /dev/hwrng | wc -c`;
    const works = `virtio_rng.0\n${bits}\n5000`;
    try {
      await session.ready();
      expect(await session.text(reads)).toBe(works);

      // It lets go of the device, and takes it up again.
      const driver = '/sys/bus/platform/drivers/virtio-uml';
      expect(await session.text(`echo virtio-uml.0 >${driver}/unbind; ${current}`)).toBe('none');
      await again();
      expect(await session.text(`echo virtio-uml.0 >${driver}/bind; ${reads}`)).toBe(works);

      // In the middle of use the kernel gives the device up until it starts anew, and lives.
      await session.text('(while head -c 512 /dev/hwrng; do :; done) >/dev/null 2>&1 &');
      await again();
      await session.text(
        `until [ "$(${current})" = none ]; do timeout 1 head -c 64 /dev/hwrng >/dev/null 2>&1; sleep 0.1; done`,
      );
      await session.reboot();
      expect(await session.text(reads)).toBe(works);
    } finally {
      await guest.close();
      served.kill('SIGTERM');
      const { errors } = await served.end();
      expect(errors).toBe('');
      await rm(folder, { recursive: true });
    }
  });
});
