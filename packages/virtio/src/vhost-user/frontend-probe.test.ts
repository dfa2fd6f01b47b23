import { expect, it } from 'vitest';
import { probeVhostUser } from './frontend-probe.ts';
import { type Script, scripted, version1 } from './scripted-back-end.fixture.ts';

async function probed(script: Script) {
  const { channel, host, backEnd } = scripted(script);
  const found = await probeVhostUser(channel, host);
  backEnd.drop();
  expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  return { found, backEnd };
}

it.each([0, 1, 60, 255, 256])(
  'finds all %d bytes of a configuration, and leaves the device alone',
  async (length) => {
    const config = Uint8Array.from({ length }, (_, index) => index);
    const { found, backEnd } = await probed({ config, protocol: ['CONFIG', 'MQ', 'CONFIGURE_MEM_SLOTS'] });
    expect(found.config).toEqual(config);
    expect(found).toMatchObject({ queues: 2, memorySlots: 509, unknownProtocolFeatures: 0n });
    expect(found.protocolFeatures).toEqual(['MQ', 'CONFIG', 'CONFIGURE_MEM_SLOTS']);
    expect(new Set(backEnd.heard)).toEqual(
      new Set([
        ...['GET_FEATURES', 'GET_PROTOCOL_FEATURES', 'SET_PROTOCOL_FEATURES', 'SET_OWNER'],
        ...['GET_QUEUE_NUM', 'GET_MAX_MEM_SLOTS', 'GET_CONFIG'],
      ]),
    );
  },
);

it('tells of shared memory regions', async () => {
  const { found } = await probed({
    protocol: ['SHMEM', 'BACKEND_REQ'],
    on: {
      GET_SHMEM_CONFIG: (_, backEnd) =>
        backEnd.stream.reply('GET_SHMEM_CONFIG', { nregions: 1, memory_sizes: [0n, 8192n] }),
    },
  });
  expect(found.sharedMemory).toEqual([{ id: 1, length: 8192 }]);
});

it('says where there is nothing to be said', async () => {
  const { found } = await probed({ features: version1 | 1n });
  expect(found.features.bits()).toEqual([0, 32]);
  expect(found).toMatchObject({ protocolFeatures: undefined, queues: undefined, config: undefined });
});
