import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Answer, failure, Owner, ok, type RawCommand } from '../../../device/admin/owner.fixture.ts';
import { sendObject } from '../../../device/admin/resource.fixture.ts';
import { type Device, device } from '../../../device/device.ts';
import { saveDevice } from '../../../device/saving.ts';
import { openEntropy } from '../../../devices/entropy/index.ts';
import { entropy } from '../../../devices/entropy/spec.ts';
import { decodeHeaders, decodeParts, encodeParts, type PartCopy } from '../../../driver/admin/parts.ts';
import {
  devPartsObject,
  devPartsObjectType,
  virtio_admin_cmd_cap_get_data,
  virtio_admin_cmd_resource_obj_cmd_hdr,
} from '../../../spec/admin.ts';
import {
  dev_parts_request,
  devicePart,
  devicePartFlag,
  virtio_dev_part_hdr,
  vq_index_selector,
} from '../../../spec/device-parts.ts';
import { joined } from '../../../spec/joined.ts';
import { status } from '../../../spec/status.ts';
import type { PciFunction } from '../device.ts';
import { restorePciFunction, savePciFunction } from '../saving.ts';
import { startPciFunction } from '../stopping.ts';
import { commonConfigPart } from './common-config-kind.ts';
import { MovableGuest } from './movable.fixture.ts';
import { ownPart } from './own-kinds.ts';
import { SriovGroup } from './sriov-group.ts';

/** The ids of the objects that `start` creates. */
const toGet = 0;
const toSet = 1;

interface Setup {
  readonly owner: Owner;
  readonly guest: MovableGuest;
  readonly member: PciFunction;
  readonly group: SriovGroup;
  /** Sends a command about device parts for VF 1. */
  readonly parts: (
    opcode: RawCommand['opcode'],
    id: number,
    data?: Uint8Array,
    writable?: number,
  ) => Promise<Answer>;
  readonly mode: (flags: number) => Promise<Answer>;
  readonly set: (...parts: readonly PartCopy[]) => Promise<Answer>;
}

const serving: Device = device(entropy, {
  serve: { requestq: ({ writable }) => writable.fill(1, writable.length) },
});

async function start(made: Device = device(entropy, serving.behaviour)): Promise<Setup> {
  const guest = new MovableGuest();
  const member = guest.join(made);
  const group = new SriovGroup([member]);
  const owner = await Owner.start({ groups: [group], deviceParts: { get: 2, set: 1 } });
  group.enableVfs();
  await owner.useAll();
  await owner.useAll(1);
  const limits = Uint8Array.of(2, 1);
  await owner.send({
    opcode: 'DRIVER_CAP_SET',
    data: joined(virtio_admin_cmd_cap_get_data.encode({ id: 0 }), limits),
  });
  await createParts(owner, toGet, 'GET');
  await createParts(owner, toSet, 'SET');
  const parts: Setup['parts'] = (opcode, id, data = new Uint8Array(), writable = 65_536) =>
    owner.send({
      opcode,
      group: 1,
      member: 1n,
      data: joined(virtio_admin_cmd_resource_obj_cmd_hdr.encode({ type: 0, id }), data),
      writable,
    });
  return {
    owner,
    guest,
    member,
    group,
    parts,
    mode: (flags) => owner.send({ opcode: 'DEV_MODE_SET', group: 1, member: 1n, data: Uint8Array.of(flags) }),
    set: (...given) => parts('DEV_PARTS_SET', toSet, encodeParts(given)),
  };
}

const createParts = (owner: Owner, id: number, type: keyof typeof devPartsObjectType): Promise<Answer> =>
  sendObject(
    owner,
    'RESOURCE_OBJ_CREATE',
    { type: devPartsObject.type, id },
    Uint8Array.of(devPartsObjectType[type]),
    { group: 1, member: 1n },
  );

const request = (type: number, ...headers: Uint8Array[]): Uint8Array =>
  joined(dev_parts_request.encode({ type }), ...headers);

const all = async ({ parts }: Setup): Promise<PartCopy[]> =>
  decodeParts((await parts('DEV_PARTS_GET', toGet, request(1))).result);

const find = (parts: readonly PartCopy[], type: number): PartCopy => {
  const found = parts.find((part) => part.type === type);
  if (found === undefined) throw new Error(`no part ${type}`);
  return found;
};

/** What a value that cannot be is answered with. */
const refused = expect.objectContaining(failure('EINVAL', 'INVALID_FIELD'));

describe('device parts', () => {
  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('are given in the order of the specification, as often as they are asked for', async () => {
    const setup = await start();
    const first = await all(setup);
    const types = first.map(({ type }) => type);
    expect(types).toEqual([...types].sort((one, other) => one - other));
    expect(types).toEqual([
      devicePart.DEV_FEATURES,
      devicePart.DRV_FEATURES,
      ...Array.from({ length: 6 }, () => commonConfigPart),
      devicePart.DEVICE_STATUS,
      devicePart.VQ_CFG,
      devicePart.VQ_NOTIFY_CFG,
      ownPart.QUEUE_POSITION,
      ownPart.DEVICE_STATE,
    ]);
    expect(first.filter(({ flags }) => flags === devicePartFlag.OPTIONAL).map(({ type }) => type)).toEqual([
      devicePart.DEV_FEATURES,
    ]);
    expect(await all(setup)).toEqual(first);
    await setup.mode(1);
    expect(await all(setup)).toEqual(first);
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('are given by name in the same order, without those that there are not', async () => {
    const setup = await start();
    const name = (part_type: number, selector = new Uint8Array(8)): Uint8Array =>
      virtio_dev_part_hdr.encode({ part_type, selector });
    const { result } = await setup.parts(
      'DEV_PARTS_GET',
      toGet,
      request(
        0,
        name(devicePart.DEVICE_STATUS),
        name(devicePart.VQ_CFG, vq_index_selector.encode({ index: 7 })),
        name(0x4321),
        name(devicePart.DRV_FEATURES),
        name(devicePart.DEV_FEATURES),
      ),
    );
    expect(decodeParts(result).map(({ type }) => type)).toEqual([
      devicePart.DEV_FEATURES,
      devicePart.DRV_FEATURES,
      devicePart.DEVICE_STATUS,
    ]);
    expect(await setup.parts('DEV_PARTS_GET', toGet, request(2))).toEqual(refused);
  });

  it('are described by size, count and list; a list that does not fit is not given', async () => {
    const setup = await start();
    const parts = await all(setup);
    const metadata = async (type: number, writable = 65_536): Promise<Answer> =>
      setup.parts('DEV_PARTS_METADATA_GET', toGet, request(type), writable);
    const number = ({ result }: Answer): number => new DataView(result.slice().buffer).getUint32(0, true);
    expect(number(await metadata(0))).toBe(parts.reduce((sum, { value }) => sum + 16 + value.length, 0));
    expect(number(await metadata(1))).toBe(parts.length);
    const list = await metadata(2);
    expect(number(list)).toBe(parts.length);
    expect(decodeHeaders(list.result.subarray(8), parts.length)).toEqual(
      parts.map(({ type, selector, value }) => ({ type, selector, length: value.length })),
    );
    const needed = 8 + 8 + 16 * parts.length;
    expect(await metadata(2, needed)).toMatchObject({ ...ok, used: needed });
    expect(await metadata(2, needed - 1)).toMatchObject(failure('ENOMEM', 'INVALID_COMMAND'));
    expect(await metadata(3)).toEqual(refused);
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('are set of a device that is stopped, again and again, and the last value counts', async () => {
    const setup = await start();
    const queue = find(await all(setup), devicePart.VQ_CFG);
    const sized = (size: number): PartCopy => {
      const value = queue.value.slice();
      value[0] = size;
      value[1] = 0;
      return { ...queue, value };
    };
    expect(await setup.set(queue)).toEqual(refused);
    await setup.mode(1);
    expect(await setup.set(sized(8))).toMatchObject(ok);
    expect(await setup.set(sized(16))).toMatchObject(ok);
    expect(await setup.set(find(await all(setup), devicePart.DEVICE_STATUS))).toMatchObject(ok);
    expect(setup.member.core.queues[0]?.size).toBe(256);
    expect(await setup.mode(0)).toMatchObject(ok);
    expect(setup.member.core.queues[0]?.size).toBe(16);
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('are refused, all of a command, when one has another length or cannot be', async () => {
    const setup = await start();
    const parts = await all(setup);
    await setup.mode(1);
    const select = parts.filter(({ type }) => type === commonConfigPart).at(-1)!;
    const good = { ...select, value: Uint8Array.of(5, 0) };
    const change = (part: PartCopy, at: number, to: number): PartCopy => {
      const value = part.value.slice();
      value[at] = to;
      return { ...part, value };
    };
    const named = (type: number): PartCopy => find(parts, type);
    const wrong: PartCopy[] = [
      ...parts
        .filter(({ type }) => type !== ownPart.DEVICE_STATE)
        .flatMap((part) => [
          { ...part, value: part.value.subarray(1) },
          { ...part, value: joined(part.value, Uint8Array.of(0)) },
        ]),
      change(named(devicePart.DEV_FEATURES), 15, 1),
      change(named(devicePart.DRV_FEATURES), 15, 1),
      change(named(devicePart.DEVICE_STATUS), 0, 0x20),
      change(named(devicePart.DEVICE_STATUS), 0, status.DRIVER_OK),
      change(named(devicePart.VQ_CFG), 1, 2),
      change(named(devicePart.VQ_CFG), 2, 9),
      change(named(devicePart.VQ_CFG), 4, 2),
      change(named(devicePart.VQ_CFG), 15, 1),
      change(named(devicePart.VQ_NOTIFY_CFG), 0, 9),
      { ...named(ownPart.DEVICE_STATE), value: Uint8Array.of(0x7b) },
      {
        ...named(ownPart.DEVICE_STATE),
        value: Uint8Array.from('{"config":{"bytes":[300]}}', (c) => c.charCodeAt(0)),
      },
      { ...named(devicePart.VQ_CFG), selector: vq_index_selector.encode({ index: 1 }) },
      { type: 0x4321, flags: 0, selector: new Uint8Array(8), value: new Uint8Array(4) },
      good,
    ];
    for (const part of wrong) expect(await setup.set(good, part)).toEqual(refused);
    const optional = { type: 0x4321, flags: 1, selector: new Uint8Array(8), value: new Uint8Array(5) };
    await setup.mode(0);
    expect(savePciFunction(setup.member).queueSelect).toBe(0);
    await setup.mode(1);
    expect(await setup.set(optional, good)).toMatchObject(ok);
    await setup.mode(0);
    expect(savePciFunction(setup.member).queueSelect).toBe(5);
  });

  it('in any bytes are taken or refused, and the member goes on', async () => {
    const setup = await start();
    const own = encodeParts(await all(setup));
    await setup.mode(1);
    const garbage = fc.record({
      from: fc.nat({ max: own.length }),
      bytes: fc.uint8Array({ maxLength: 48 }),
      rest: fc.nat({ max: own.length }),
    });
    await fc.assert(
      fc.asyncProperty(garbage, async ({ from, bytes, rest }) => {
        const data = joined(own.subarray(0, from), bytes, own.subarray(rest));
        const { status: answer } = await setup.parts('DEV_PARTS_SET', toSet, data);
        expect([0, 22]).toContain(answer);
      }),
    );
    setup.member.reset();
    expect(await setup.mode(0)).toMatchObject(ok);
    expect(setup.owner.errors).toEqual([]);
  });

  it('that make no device leave it stopped as it was', async () => {
    const setup = await start();
    const rng = await openEntropy(await setup.guest.openTransport());
    await rng.read(1);
    const parts = await all(setup);
    await setup.mode(1);
    const position = find(parts, ownPart.QUEUE_POSITION);
    expect(await setup.set({ ...position, value: new Uint8Array(8).fill(0xff) })).toMatchObject(ok);
    const before = savePciFunction(setup.member);
    expect(await setup.mode(0)).toEqual(refused);
    expect(setup.member.stopped).toBe(true);
    expect(savePciFunction(setup.member).core.queues).toEqual(before.core.queues);
    expect(await setup.set(position)).toMatchObject(ok);
    expect(await setup.mode(0)).toMatchObject(ok);
    expect(await rng.read(2)).toEqual(Uint8Array.of(1, 1));
  });

  it('of a split ring do without its position, those of a packed one do not', async () => {
    for (const packed of [false, true]) {
      const setup = await start();
      const reserved = packed ? (['RING_PACKED'] as const) : [];
      const rng = await openEntropy(await setup.guest.openTransport(), { reserved });
      for (let i = 0; i < 300; i++) await rng.read(1);
      await setup.mode(1);
      const parts = (await all(setup)).filter(({ type }) => type !== ownPart.QUEUE_POSITION);
      const next = setup.guest.join(device(entropy, serving.behaviour));
      const other = new SriovGroup([next]);
      other.enableVfs();
      const member = other.member(1)!;
      await member.stop();
      setup.guest.moveTo(next);
      member.setParts(parts.map((part) => ({ ...part, optional: false })));
      if (packed) expect(() => member.resume()).toThrow(expect.objectContaining({ status: 'EINVAL' }));
      else {
        member.resume();
        expect(await rng.read(1)).toEqual(Uint8Array.of(1));
      }
    }
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('that were set are void once the member is reset', async () => {
    const setup = await start();
    const select = (await all(setup)).filter(({ type }) => type === commonConfigPart).at(-1)!;
    await setup.mode(1);
    await setup.set({ ...select, value: Uint8Array.of(5, 0) });
    setup.member.reset();
    expect(await setup.mode(0)).toMatchObject(ok);
    expect(savePciFunction(setup.member).queueSelect).toBe(0);
  });

  it('are read with an object to get and set with one to set, of the member whose they are', async () => {
    const setup = await start();
    const { owner, parts } = setup;
    await setup.mode(1);
    expect(await parts('DEV_PARTS_GET', toSet, request(1))).toEqual(refused);
    expect(await parts('DEV_PARTS_METADATA_GET', toSet, request(1))).toEqual(refused);
    expect(await parts('DEV_PARTS_SET', toGet)).toEqual(refused);
    expect(await parts('DEV_PARTS_GET', 2, request(1))).toMatchObject(failure('ENXIO', 'INVALID_FIELD'));
    expect(await createParts(owner, 2, 'SET')).toMatchObject(failure('ENOSPC', 'NORESOURCE'));
    expect(await createParts(owner, 2, 'GET')).toMatchObject(ok);
    setup.group.enableVfs();
    expect(await parts('DEV_PARTS_GET', toGet, request(1))).toMatchObject(failure('ENXIO', 'INVALID_FIELD'));
    expect(await createParts(owner, toGet, 'GET')).toMatchObject(ok);
  });
});

describe('a device that is stopped', () => {
  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('has done all that it began, and keeps the commands behind it waiting for that', async () => {
    let finish = (): void => {};
    const slow = device(entropy, {
      serve: {
        requestq: ({ writable }) =>
          new Promise<void>((resolve) => {
            finish = () => {
              writable.fill(7, writable.length);
              resolve();
            };
          }),
      },
    });
    const setup = await start(slow);
    const rng = await openEntropy(await setup.guest.openTransport());
    const begun = rng.read(3);
    const order: string[] = [];
    const stopping = setup.mode(1).then((answer) => {
      order.push('stopped');
      return answer;
    });
    const behind = setup.parts('DEV_PARTS_METADATA_GET', toGet, request(1)).then(() => order.push('behind'));
    for (let i = 0; i < 20; i++) await Promise.resolve();
    expect(order).toEqual([]);
    finish();
    expect(await stopping).toMatchObject(ok);
    await behind;
    expect(order).toEqual(['stopped', 'behind']);
    expect(saveDevice(setup.member.core).queues[0]?.ring).toMatchObject({ nextUsed: 1, inFlight: [] });
    // The buffer is used; its interrupt comes when the device goes on.
    expect(setup.guest.messages).toBe(0);
    await setup.mode(0);
    expect(await begun).toEqual(Uint8Array.of(7, 7, 7));
  });

  it('answers nobody when its owner was reset meanwhile', async () => {
    let finish = (): void => {};
    const slow = device(entropy, {
      serve: {
        requestq: () =>
          new Promise<void>((resolve) => {
            finish = resolve;
          }),
      },
    });
    const setup = await start(slow);
    const rng = await openEntropy(await setup.guest.openTransport());
    const lost = expect(rng.read(1)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    const commands = [setup.mode(1), setup.mode(0)].map((sent) =>
      expect(sent).rejects.toMatchObject({ code: 'DEVICE_GONE' }),
    );
    await Promise.resolve();
    await setup.owner.opened.close();
    finish();
    await Promise.all(commands);
    expect(setup.member.stopped).toBe(true);
    startPciFunction(setup.member);
    await lost;
    expect(setup.owner.errors).toEqual([]);
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('touches no memory and sends no interrupt, while its registers answer and take', async () => {
    const made = device(entropy, serving.behaviour);
    const setup = await start(made);
    const transport = await setup.guest.openTransport();
    const rng = await openEntropy(transport);
    await rng.read(1);
    await setup.mode(1);
    const memory = setup.guest.memory.regions[0]!.bytes.slice();
    const { messages } = setup.guest;
    made.updateConfig({});
    const waiting = rng.read(2);
    for (let i = 0; i < 20; i++) await Promise.resolve();
    // What the driver itself has written is its request.
    expect(saveDevice(setup.member.core).queues[0]?.ring?.nextAvailable).toBe(1);
    const used = setup.member.core.queues[0]!.device;
    const now = setup.guest.memory.regions[0]!.bytes;
    expect(now.slice(used, used + 64)).toEqual(memory.slice(used, used + 64));
    expect(setup.guest.messages).toBe(messages);
    expect(await transport.readStatus()).toBe(setup.member.core.status);
    expect(await transport.queueMaxSize(0)).toBe(256);
    await setup.mode(0);
    expect(await waiting).toEqual(Uint8Array.of(1, 1));
    expect(setup.guest.messages).toBeGreaterThan(messages);
    expect(setup.guest.errors).toEqual([]);
  });

  // @holds 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('can be stopped again, and one that goes can be resumed; there are no other modes', async () => {
    const setup = await start();
    for (const flags of [0, 0, 1, 1, 0, 1]) {
      expect(await setup.mode(flags)).toMatchObject(ok);
      expect(setup.member.stopped).toBe(flags === 1);
    }
    expect(await setup.mode(2)).toEqual(refused);
    expect(await setup.mode(3)).toEqual(refused);
    expect(setup.member.stopped).toBe(true);
  });

  it('is still stopped after it was saved and restored, and after a reset by its driver', async () => {
    const setup = await start();
    await setup.mode(1);
    setup.member.core.writeStatus(0);
    expect(setup.member.stopped).toBe(true);
    const saved = JSON.parse(JSON.stringify(savePciFunction(setup.member)));
    startPciFunction(setup.member);
    restorePciFunction(setup.member, saved);
    expect(setup.member.stopped).toBe(true);
  });
});
