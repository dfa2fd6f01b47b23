/** One bus in a process of its own: answers each message with the processor time of a request, in µs. `one-bus.ts BUS` */
import { blkDevice, memoryStorage, openBlk } from 'virtio/devices/blk';
import { buses } from 'virtio/testing';

const requestsPerRound = 2000;

const bus = buses.find(({ name }) => name === process.argv[2]);
if (bus === undefined) throw new Error(`there is no bus ${process.argv[2]}`);
const { transport } = await bus.connect(blkDevice({ storage: memoryStorage(2 ** 20) }), {});
const disk = await openBlk(transport);

process.on('message', async () => {
  // Both sides are in this process: what else the machine does counts little.
  const start = process.cpuUsage();
  for (let i = 0; i < requestsPerRound; i++) await disk.read((i * 8) % 1024, 8);
  const { user, system } = process.cpuUsage(start);
  process.send?.((user + system) / requestsPerRound);
});
