/** Keeps a user-mode Linux that runs a process, says so, and waits to be killed itself. */
import { GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';

const guest = await UmlMachine.start({
  guest: await guestFiles({ machine: 'uml' }),
  ports: 2,
  append: serialPorts('ttyS0', 'ttyS1'),
});
const session = new GuestSession(guest);
await session.ready();
await session.text('sleep 1000 & sleep 1000 & true');
process.stdout.write('it runs\n');
