/**
 * The driver's end of a virtqueue in a process of its own, as a virtual machine is: asks for one thing after the other,
 * watching the ring itself, and prints what that took.
 * `driver.ts COUNT SOCKET`
 */
import type { Descriptor } from 'virtio/channel';
import { Allocator, GuestMemory } from 'virtio/memory';
import { createDriverQueue } from 'virtio/virtqueue';
import { connectUnix, NodeDescriptors } from 'virtio-node/host';
import { memoryLength, ringOptions, ringPlaces } from './places.ts';

const [count = '1', path = ''] = process.argv.slice(2);
const host = new NodeDescriptors();

function run([memoryDescriptor, kick]: readonly Descriptor[]): void {
  if (memoryDescriptor === undefined || kick === undefined) throw new Error('no descriptors came');
  const memory = new GuestMemory();
  for (const piece of host.map(memoryDescriptor, 0, memoryLength).pieces) {
    memory.addRegion(0, piece, { pinned: true, shared: true });
  }
  const allocator = new Allocator(0x10000, memoryLength - 0x10000);
  const queue = createDriverQueue(memory, ringPlaces, { ...ringOptions, allocator });
  queue.disableNotifications();
  const request = [{ address: allocator.allocate(16), length: 16 }];
  const answer = [{ address: allocator.allocate(16), length: 16 }];
  let kicks = 0;
  const ask = (): void => {
    queue.submit(request, answer, 0);
    if (queue.publish()) {
      kicks++;
      host.signal(kick);
    }
    while (queue.poll() === undefined);
  };
  const rounds = Number(count);
  for (let round = 0; round < rounds / 10; round++) ask();
  kicks = 0;
  const start = process.hrtime.bigint();
  for (let round = 0; round < rounds; round++) ask();
  const nanoseconds = Number(process.hrtime.bigint() - start) / rounds;
  process.stdout.write(JSON.stringify({ nanoseconds, kicks: kicks / rounds }));
}

const channel = connectUnix(path);
channel.listen({
  received(_, descriptors) {
    run(descriptors);
    channel.close();
  },
  closed() {},
});
