import { blkDevice, memoryStorage, openBlk } from 'virtio/devices/blk';
import type { VhostUserTransport } from 'virtio/vhost-user';
import { VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Listening, listenUnix, NodeDescriptors } from '../host/index.ts';
import { freshPath } from '../host/pair.fixture.ts';
import { answerLimit, connectVhostUser } from './connect.ts';

const storage = memoryStorage(2 ** 20);
const host = new NodeDescriptors();
let listening: Listening | undefined;
afterEach(() => listening?.close());

/** A back end of ours at a socket of the system's, in this process; `last` is the one that was connected to last. */
function serve(path: string): { last: VhostUserBackend | undefined; connections: number } {
  const served: { last: VhostUserBackend | undefined; connections: number } = {
    last: undefined,
    connections: 0,
  };
  listening = listenUnix(path, (channel) => {
    served.connections++;
    served.last = new VhostUserBackend(blkDevice({ storage }), channel, host, { packedRing });
  });
  return served;
}

const connect = (path: string, more: { readonly reconnectFor?: number } = {}): Promise<VhostUserTransport> =>
  connectVhostUser(path, { deviceId: 2, memory: 2 ** 22, ...more });

describe('a back end at a socket', () => {
  it.each(['split', 'packed'] as const)('reads and writes over a %s ring', async (ring) => {
    const path = freshPath();
    serve(path);
    const reserved = [
      'VERSION_1',
      'EVENT_IDX',
      'INDIRECT_DESC',
      ...(ring === 'packed' ? ['RING_PACKED' as const] : []),
    ] as const;
    const disk = await openBlk(await connect(path), { reserved });
    expect(disk.device.has('RING_PACKED')).toBe(ring === 'packed');
    await disk.write(3, new Uint8Array(512 * 40).fill(7));
    await disk.flush();
    expect(await disk.read(3, 40)).toEqual(new Uint8Array(512 * 40).fill(7));
    await disk.close();
  });

  it('tells of a change of the configuration on its own', async () => {
    const path = freshPath();
    const served = serve(path);
    const onCapacityChange = vi.fn();
    const disk = await openBlk(await connect(path), { onCapacityChange });
    served.last?.core.device.updateConfig({ capacity: 5n });
    await vi.waitFor(() => expect(onCapacityChange).toHaveBeenCalledWith(5));
    await disk.close();
  });

  it.each(['split', 'packed'] as const)(
    'carries out on the next connection what was under way, %s',
    async (ring) => {
      const path = freshPath();
      const served = serve(path);
      const reserved = ['VERSION_1', ...(ring === 'packed' ? ['RING_PACKED' as const] : [])] as const;
      const disk = await openBlk(await connect(path, { reconnectFor: 60_000 }), { reserved });
      for (let round = 0; round < 20; round++) {
        const writes = Array.from({ length: 8 }, (_, i) =>
          disk.write(i * 8, new Uint8Array(4096).fill(round * 8 + i)),
        );
        served.last?.close();
        await Promise.all(writes);
      }
      expect(served.connections).toBe(21);
      expect((await disk.read(56, 1))[0]).toBe(19 * 8 + 7);
      await disk.close();
    },
  );

  it('is gone when nobody comes back', async () => {
    const path = freshPath();
    const served = serve(path);
    const transport = await connect(path, { reconnectFor: 1 });
    const onFailure = vi.fn();
    await openBlk(transport, { onFailure });
    listening?.close();
    served.last?.close();
    await vi.waitFor(() => expect(onFailure).toHaveBeenCalledTimes(1));
    expect(onFailure.mock.calls[0]?.[0]).toMatchObject({ code: 'DEVICE_GONE' });
    await transport.close();
  });
});

it('gives up on an answer that does not come, and on none that does', async () => {
  await expect(answerLimit(1)(new Promise(() => {}))).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  await expect(answerLimit(60_000)(Promise.resolve(5))).resolves.toBe(5);
  const path = freshPath();
  listening = listenUnix(path, () => {});
  await expect(connectVhostUser(path, { deviceId: 2, timeout: 1 })).rejects.toMatchObject({
    code: 'DEVICE_GONE',
  });
  await expect(connect(freshPath())).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
