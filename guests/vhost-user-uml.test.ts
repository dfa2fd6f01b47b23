import { consoleDevice } from 'virtio/devices/console';
import { type GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { expect, vi } from 'vitest';
import { vhostUserSuite } from './vhost-user-suite.ts';

let heard = '';
const hvc = consoleDevice({
  onData: (bytes) => {
    heard += Buffer.from(bytes).toString();
  },
});

vhostUserSuite({
  start: async (options) =>
    UmlMachine.start({
      ...options,
      guest: await guestFiles({ machine: 'uml' }),
      ports: 2,
      append: serialPorts('ttyS0', 'ttyS1'),
    }),
  // It takes whatever is offered.
  packed: true,
  beside: {
    id: 3,
    device: hvc,
    async test(session: GuestSession) {
      await session.text('stty raw -echo </dev/hvc0; seq 1000 >/dev/hvc0');
      await vi.waitFor(() => expect(heard.split(/\s+/).slice(0, 1000).map(Number).at(-1)).toBe(1000), 60_000);
      const read = session.text('head -n 1 </dev/hvc0');
      await hvc.console.write(Buffer.from('a line\n'));
      expect(await read).toBe('a line');
    },
  },
});
