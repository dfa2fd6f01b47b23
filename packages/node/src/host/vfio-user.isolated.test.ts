import { SharedMemory } from 'virtio/channel';
import { entropyDevice, openEntropy } from 'virtio/devices/entropy';
import type { VirtioError } from 'virtio/errors';
import { fixtures } from 'virtio/testing';
import { msixSignals, openPci, VmmPciFunction } from 'virtio/transports/pci';
import {
  commands,
  VfioPciFunction,
  VfioUserServer,
  vfio_user_dma_map,
  vfio_user_header,
  vfio_user_version,
} from 'virtio/vfio-user';
import { inOrder, packedRing } from 'virtio/virtqueue';
import { describe, expect, it, vi } from 'vitest';
import { NodeDescriptors } from './descriptors.ts';
import { openDescriptors, sharedMappings } from './open-things.fixture.ts';
import { freshPath } from './pair.fixture.ts';
import { connectUnix, listenUnix } from './unix.ts';

const descriptors = new NodeDescriptors();
const room = { memory: { start: 0xe000_0000, length: 0x1000_0000 } };
const reserved = ['VERSION_1', 'RING_PACKED', 'EVENT_IDX', 'INDIRECT_DESC'] as const;

/** A command, or the beginning of one. */
function message(cmd: number, payload: Uint8Array): Uint8Array {
  const { size } = vfio_user_header;
  return Buffer.concat([vfio_user_header.encode({ cmd, msg_size: size + payload.length }), payload]);
}

describe('vfio-user over sockets', () => {
  it.each(fixtures)('has a $name do all that it can, in shared memory and by events', async (fixture) => {
    const errors: VirtioError[] = [];
    const onError = (error: VirtioError): void => void errors.push(error);
    const server = new VfioUserServer({ descriptors, onError }, (host) => {
      const own = { ...host, msix: msixSignals(host.signalVector), packedRing, inOrder, onError };
      return new VmmPciFunction(fixture.make(reserved), own);
    });
    const path = freshPath();
    const listening = listenUnix(path, (channel) => server.serve(channel));
    const shared = new SharedMemory(descriptors, 4 * 2 ** 20);
    const pciFunction = await VfioPciFunction.open(connectUnix(path), { descriptors, shared, onError });
    await fixture.exercise(await openPci(pciFunction, { room }), { reserved, indirectPolicy: 'auto' });
    expect(errors).toEqual([]);
    pciFunction.close();
    shared.close();
    server.close();
    listening.close();
  });

  it('leaves nothing behind: two hundred connections, some of which break off', async () => {
    const before = [openDescriptors(), sharedMappings()];
    const server = new VfioUserServer({ descriptors }, (host) => {
      const own = { ...host, msix: msixSignals(host.signalVector), packedRing, inOrder };
      return new VmmPciFunction(entropyDevice({ source: (bytes) => void bytes.fill(7) }), own);
    });
    const path = freshPath();
    const listening = listenUnix(path, (channel) => server.serve(channel));
    for (let i = 0; i < 200; i++) {
      const channel = connectUnix(path);
      const shared = new SharedMemory(descriptors, 2 ** 16);
      if (i % 4 === 0) {
        const [{ descriptor } = { descriptor: undefined }] = shared.ranges;
        const map = vfio_user_dma_map.encode({ argsz: 32, flags: 3, address: 4096n, size: 65536n });
        channel.send(message(commands.VERSION.id, vfio_user_version.encode({})));
        channel.send(message(commands.DMA_MAP.id, map).subarray(0, 20 + i), descriptor && [descriptor]);
        for (let turn = 0; turn < i % 16; turn++) await new Promise(setImmediate);
        channel.close();
      } else {
        const pciFunction = await VfioPciFunction.open(channel, { descriptors, shared });
        const entropy = await openEntropy(await openPci(pciFunction, { room }));
        expect([...(await entropy.read(2))]).toEqual([7, 7]);
        pciFunction.close();
      }
      shared.close();
    }
    server.close();
    listening.close();
    await vi.waitFor(() => expect([openDescriptors(), sharedMappings()]).toEqual(before), 20_000);
  });
});
