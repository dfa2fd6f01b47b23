import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { frontEndMessages, MessageStream, protocolFeatureBits, VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { connectUnix, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { expect, it } from 'vitest';

const connections = 1000;
const memorySize = 2 ** 16;
const userBase = 0x5000_0000_0000n;

/** Descriptors that this process has open, and pieces of shared memory that it has mapped. */
function held(): { readonly descriptors: number; readonly mappings: number } {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: readFileSync('/proc/self/maps', 'utf8').split('/memfd:').length,
  };
}

it(`gives everything back after each of ${connections} connections, some of which break off in the middle`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtio-connections-'));
  const path = join(folder, 'socket');
  const host = new NodeDescriptors();
  const disk = blkDevice({ storage: memoryStorage(2 ** 20), segMax: 126 });
  let closed: () => void = () => {};
  const listening = listenUnix(path, (channel) => {
    new VhostUserBackend(disk, channel, host, { packedRing, onClosed: () => closed() });
  });
  const memory = host.createMemory(memorySize);
  const events = [host.createEvent(), host.createEvent()] as const;

  /** A session as QEMU has it, up to a queue that runs; `steps` messages of it. */
  async function connect(steps: number): Promise<void> {
    let answered: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const stream = new MessageStream(connectUnix(path), frontEndMessages, 'replies', {
      received: () => answered(),
      closed() {},
    });
    const protocol = protocolFeatureBits(['REPLY_ACK', 'INFLIGHT_SHMFD', 'BACKEND_REQ', 'LOG_SHMFD']);
    const user = (address: number): bigint => userBase + BigInt(address);
    const { channel, other } = host.createChannel();
    const region = {
      guest_phys_addr: 0n,
      memory_size: BigInt(memorySize),
      userspace_addr: userBase,
      mmap_offset: 0n,
    };
    const kept = { mmap_size: 32768n, mmap_offset: 0n, num_queues: 1, queue_size: 16 };
    const say = [
      () => stream.request('SET_PROTOCOL_FEATURES', { u64: protocol }),
      () => stream.request('SET_FEATURES', { u64: (1n << 32n) | (1n << 30n) }),
      () => stream.request('SET_BACKEND_REQ_FD', {}, { descriptors: [other] }),
      () => stream.request('SET_MEM_TABLE', { nregions: 1, regions: [region] }, { descriptors: [memory] }),
      () => stream.request('SET_INFLIGHT_FD', kept, { descriptors: [memory] }),
      () =>
        stream.request('SET_LOG_BASE', { mmap_size: 64n, mmap_offset: 32768n }, { descriptors: [memory] }),
      () => stream.request('SET_VRING_NUM', { index: 0, num: 16 }),
      () =>
        stream.request('SET_VRING_ADDR', {
          index: 0,
          desc_user_addr: user(0x8000),
          avail_user_addr: user(0x9000),
          used_user_addr: user(0xa000),
        }),
      () => stream.request('SET_VRING_CALL', { u64: 0n }, { descriptors: [events[0]] }),
      () => stream.request('SET_VRING_KICK', { u64: 0n }, { descriptors: [events[1]] }),
      () => stream.request('SET_VRING_ENABLE', { index: 0, num: 1 }),
    ];
    for (const step of say.slice(0, steps)) step();
    if (steps > say.length) {
      const answer = new Promise<void>((resolve) => {
        answered = resolve;
      });
      stream.request('GET_FEATURES', {});
      await answer;
    }
    other.close();
    channel.close();
    stream.close();
    await ended;
  }

  // What is loaded at the first use stays.
  await connect(12);
  const before = held();
  for (let i = 0; i < connections; i++) await connect(i % 13);
  expect(held()).toEqual(before);
  for (const one of [memory, ...events]) one.close();
  listening.close();
  rmSync(folder, { recursive: true });
});
