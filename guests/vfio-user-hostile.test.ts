/**
 * What a hostile client does to the process of `virtio serve --vfio-user`: it lives, gives back what came over the connection,
 * and serves the next client.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Channel, type Descriptor, MessageReader, mostDescriptors, SharedMemory } from 'virtio/channel';
import { openBlk } from 'virtio/devices/blk';
import { blkFixture } from 'virtio/testing';
import { openPci } from 'virtio/transports/pci';
import {
  type CommandName,
  commands,
  deviceFeature,
  errno,
  featureFlag,
  headerFlag,
  migrationState,
  region,
  VfioPciFunction,
  vfio_user_device_feature,
  vfio_user_device_feature_mig_state,
  vfio_user_dma_access,
  vfio_user_dma_map,
  vfio_user_dma_unmap,
  vfio_user_header,
  vfio_user_mig_data,
  vfio_user_region_access,
  vfio_user_version,
} from 'virtio/vfio-user';
import { connectUnix, NodeDescriptors } from 'virtio-node/host';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { endAll } from './cli-command.ts';
import { ServedProcess } from './hostile-front-end.ts';

/** Milliseconds: far more than anything here takes on a slow machine. */
const patience = 120_000;
const descriptors = new NodeDescriptors();
const room = { memory: { start: 0xe000_0000, length: 0x1000_0000 } };
const folder = mkdtempSync(join(tmpdir(), 'virtio-hostile-'));

/** A disk that is lent as a PCI function. */
class ServedFunction extends ServedProcess {
  constructor() {
    const args = ['--scratch', '1', '--vfio-user'];
    super(
      blkFixture,
      join(folder, 'disk.sock'),
      () => args,
      async () => {},
    );
  }

  override async serves(): Promise<void> {
    const shared = new SharedMemory(descriptors, 2 ** 20);
    const pciFunction = await VfioPciFunction.open(connectUnix(this.socket), { descriptors, shared });
    const disk = await openBlk(await openPci(pciFunction, { room }));
    expect((await disk.read(0, 1)).length).toBe(512);
    pciFunction.close();
    shared.close();
  }
}

/** The other end of a connection, which keeps to no rule. */
class Peer {
  ended = false;
  /** What is done when the server asks for memory. */
  asked: (header: ReturnType<typeof vfio_user_header.read>, access: Uint8Array) => void = () => {};
  readonly #channel: Channel = connectUnix(disk.socket);
  readonly #replies: { readonly id: number; readonly error: number }[] = [];
  #id = 0;

  constructor() {
    const framing = { headerSize: 16, lengthOf: (header: DataView) => header.getUint32(4, true) };
    const reader = new MessageReader(framing, { message: (bytes) => this.#heard(bytes), broken() {} });
    this.#channel.listen({
      received: (bytes, given) => reader.received(bytes, given),
      closed: () => {
        this.ended = true;
      },
    });
    this.send('VERSION', vfio_user_version.encode({}));
  }

  raw(bytes: Uint8Array, given: readonly Descriptor[] = []): void {
    this.#channel.send(bytes, given);
  }

  send(
    name: CommandName,
    payload: Uint8Array = new Uint8Array(),
    options: { readonly given?: readonly Descriptor[]; readonly flags?: number; readonly id?: number } = {},
  ): number {
    const { given = [], flags = 0, id = this.#id++ & 0xffff } = options;
    const size = vfio_user_header.size + payload.length;
    const header = vfio_user_header.encode({ msg_id: id, cmd: commands[name].id, msg_size: size, flags });
    this.raw(Buffer.concat([header, payload]), given);
    return id;
  }

  /** The errno that a command is refused with; 0 when it is not, -1 once the connection is over. */
  async refusal(...given: Parameters<Peer['send']>): Promise<number> {
    const id = this.send(...given);
    return vi.waitFor(
      () => {
        const found = this.#replies.find((reply) => reply.id === id);
        if (found === undefined && !this.ended) throw new Error(`no reply to ${given[0]}`);
        return found?.error ?? -1;
      },
      { timeout: patience, interval: 1 },
    );
  }

  close(): void {
    this.#channel.close();
  }

  #heard(bytes: Uint8Array<ArrayBuffer>): void {
    const header = vfio_user_header.read(new DataView(bytes.buffer));
    if ((header.flags & headerFlag.REPLY) !== 0)
      this.#replies.push({ id: header.msg_id, error: header.error_no });
    else this.asked(header, bytes.subarray(vfio_user_header.size));
  }
}

const disk = new ServedFunction();
beforeAll(() => disk.start());
afterAll(() => {
  endAll();
  rmSync(folder, { recursive: true });
});

const map = (address: number, size: number): Uint8Array =>
  vfio_user_dma_map.encode({ argsz: 32, flags: 3, address: BigInt(address), size: BigInt(size) });
const unmap = (address: number, size: number): Uint8Array =>
  vfio_user_dma_unmap.encode({ argsz: 24, address: BigInt(address), size: BigInt(size) });
const start = 0x1_0000;
const page = 4096;

/** Has the first queue stand in the pages from `start` on, by the registers that stand first in BAR 0. */
async function setUp(peer: Peer): Promise<void> {
  const write = (index: number, offset: number, ...data: number[]): Promise<number> => {
    const access = vfio_user_region_access.encode({
      offset: BigInt(offset),
      region: index,
      count: data.length,
    });
    return peer.refusal('REGION_WRITE', Buffer.concat([access, Uint8Array.from(data)]));
  };
  await write(region.CONFIG, 4, 6, 0);
  for (const status of [0, 1, 3]) await write(region.BAR0, 20, status);
  // VERSION_1 is bit 32.
  await write(region.BAR0, 8, 1, 0, 0, 0, 1, 0, 0, 0);
  await write(region.BAR0, 20, 11);
  await write(region.BAR0, 22, 0, 0, 8, 0);
  for (const area of [0, 1, 2]) await write(region.BAR0, 32 + 8 * area, 0, 0x10 * area, 1, 0);
  await write(region.BAR0, 28, 1, 0);
  await write(region.BAR0, 20, 15);
}

test('it outlives descriptors without end in one message', () =>
  disk.outlives(async () => {
    const peer = new Peer();
    const event = descriptors.createEvent();
    const whole = vfio_user_header.encode({ cmd: commands.DEVICE_RESET.id, msg_size: 16 + page });
    for (const byte of whole) peer.raw(Uint8Array.of(byte), Array(mostDescriptors).fill(event));
    await vi.waitFor(() => expect(peer.ended).toBe(true), patience);
    event.close();
  }));

test('it outlives messages that break off anywhere, with memory', () =>
  disk.outlives(async () => {
    const memory = descriptors.createMemory(page);
    const header = vfio_user_header.encode({ cmd: commands.DMA_MAP.id, msg_size: 48 });
    const whole = Buffer.concat([header, map(start, page)]);
    // No more of them than may wait for one another.
    for (let length = 1; length < whole.length; length += 7) {
      const peer = new Peer();
      peer.raw(whole.subarray(0, length), [memory]);
      peer.close();
    }
    memory.close();
  }));

test('it outlives more memory than there can be, and in more pieces', () =>
  disk.outlives(async () => {
    const peer = new Peer();
    const memory = descriptors.createMemory(page);
    const vast = descriptors.createMemory(2 ** 44);
    for (let i = 0; i < 1024; i++)
      expect(await peer.refusal('DMA_MAP', map(2 * i * page, page), { given: i % 2 ? [memory] : [] })).toBe(
        0,
      );
    expect(await peer.refusal('DMA_MAP', map(2 ** 40, page))).toBe(errno.ENOSPC);
    expect(await peer.refusal('DMA_UNMAP', unmap(0, page))).toBe(0);
    expect(await peer.refusal('DMA_MAP', map(2 ** 45, 2 ** 44), { given: [vast] })).toBe(errno.EINVAL);
    vast.close();
    memory.close();
    peer.close();
  }));

test.each<[string, (peer: Peer) => Peer['asked']]>([
  ['never answered for', () => () => {}],
  [
    'answered for with nothing',
    (peer) =>
      ({ msg_id: id }) =>
        void peer.send('DMA_READ', undefined, { id, flags: headerFlag.REPLY }),
  ],
  [
    'answered for with noise',
    (peer) =>
      ({ msg_id: id, cmd }, access) => {
        const { count } = vfio_user_dma_access.read(new DataView(access.buffer, access.byteOffset));
        const noise = crypto.getRandomValues(
          new Uint8Array(cmd === commands.DMA_READ.id ? Number(count) : 0),
        );
        const name = cmd === commands.DMA_READ.id ? 'DMA_READ' : 'DMA_WRITE';
        peer.send(name, Buffer.concat([access.subarray(0, 16), noise]), { id, flags: headerFlag.REPLY });
      },
  ],
])('it outlives a queue in memory that is %s', (_, asked) =>
  disk.outlives(async () => {
    const peer = new Peer();
    let heard = 0;
    const answer = asked(peer);
    peer.asked = (...access) => {
      heard++;
      answer(...access);
    };
    expect(await peer.refusal('DMA_MAP', map(start, 3 * page))).toBe(0);
    void setUp(peer);
    await vi.waitFor(() => expect(heard).toBeGreaterThan(0), patience);
    peer.close();
  }),
);

test('it outlives memory that is taken away from a queue at work', () =>
  disk.outlives(async () => {
    const peer = new Peer();
    const memory = descriptors.createMemory(3 * page);
    for (let i = 0; i < 20; i++) {
      expect(await peer.refusal('DMA_MAP', map(start, 3 * page), { given: [memory] })).toBe(0);
      await setUp(peer);
      const kick = vfio_user_region_access.encode({ offset: 0x3000n, region: region.BAR0, count: 2 });
      for (let n = 0; n < i; n++) peer.send('REGION_WRITE', Buffer.concat([kick, new Uint8Array(2)]));
      expect(await peer.refusal('DMA_UNMAP', unmap(start, 3 * page))).toBe(0);
      expect(await peer.refusal('REGION_WRITE', Buffer.concat([kick, new Uint8Array(2)]))).toBe(0);
    }
    memory.close();
    peer.close();
  }));

test('it outlives a state that comes in no bytes, and states in any order', () =>
  disk.outlives(async () => {
    const peer = new Peer();
    const change = (state: number): Promise<number> => {
      const flags = deviceFeature.MIG_DEVICE_STATE | featureFlag.SET;
      const head = vfio_user_device_feature.encode({ argsz: 16, flags });
      const data = vfio_user_device_feature_mig_state.encode({ device_state: state });
      return peer.refusal('DEVICE_FEATURE', Buffer.concat([head, data]));
    };
    const states = [...Object.values(migrationState), 5, 6, 7, 0xffff_ffff];
    for (const from of states) for (const to of states) await change(from).then(() => change(to));
    expect(await peer.refusal('DEVICE_RESET')).toBe(0);
    expect(await change(migrationState.RESUMING)).toBe(0);
    const nothing = vfio_user_mig_data.encode({ argsz: vfio_user_mig_data.size });
    for (let i = 0; i < 10_000; i++) peer.send('MIG_DATA_WRITE', nothing, { flags: headerFlag.NO_REPLY });
    // It is none.
    expect(await change(migrationState.RUNNING)).toBe(errno.EINVAL);
    peer.close();
  }));

test('it ends in order', async () => {
  disk.command.kill('SIGTERM');
  expect(await disk.command.end()).toMatchObject({ status: 0 });
});
