import { describe, expect, it } from 'vitest';
import { administer } from '../../device/admin/administer.ts';
import {
  bookKind,
  library,
  offeredRoom,
  roomCapability,
  shelfKind,
} from '../../device/admin/owner.fixture.ts';
import { device } from '../../device/device.ts';
import { adminOpcode, devPartsCapability, groupType } from '../../spec/admin.ts';
import { decodeBitmap, encodeBitmap } from '../../spec/bitmap.ts';
import { joined } from '../../spec/joined.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { connectPci } from '../../transports/pci/connect.ts';
import { open } from '../open.ts';
import { defaultAcceptedFeatures } from '../options.ts';
import { openAdmin } from './open-admin.ts';
import { decodeParts } from './parts.ts';
import { recorded } from './recorded.fixture.ts';

const answered = (status: number, qualifier: number, ...result: number[]): Uint8Array =>
  Uint8Array.of(status, 0, qualifier, 0, 0, 0, 0, 0, ...result);

describe('openAdmin', () => {
  // @holds 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
  it('asks for the commands of a group and tells which it uses, before any other', async () => {
    const { admin, seen, names } = await recorded((command, { writable }) => {
      if (command.name !== 'LIST_QUERY' || command.group !== 0) return 'serve';
      // With one that is not known to anybody.
      writable.write(answered(0, 0, ...encodeBitmap([0, 1, 7, 8, 9, 10, 11, 12, 13, 60])));
      return undefined;
    });
    expect(names()).toEqual(['LIST_QUERY', 'LIST_USE']);
    expect(decodeBitmap(seen[1]!.readable.subarray(24))).toEqual([0, 1, 7, 8, 9, 10, 11, 12, 13]);
    await admin.capabilities.ids();
    await admin.group(groupType.SR_IOV);
    expect(await admin.group(9)).toBeUndefined();
    expect(names().slice(2)).toEqual(['CAP_ID_LIST_QUERY', 'LIST_QUERY', 'LIST_USE', 'LIST_QUERY']);
    await expect(admin.self.send({ name: 'DEV_MODE_SET', memberId: 0 })).rejects.toMatchObject({
      code: 'NOT_NEGOTIATED',
    });
  });

  // @holds 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
  it('sends LIST_USE while no other command is under way, and none while it is', async () => {
    const underWay = new Set<string>();
    const together: string[] = [];
    const { admin } = await recorded(async (command, chain) => {
      const name = String(command.name);
      underWay.add(name);
      together.push([...underWay].join('+'));
      for (let i = 0; i < 20; i++) await Promise.resolve();
      underWay.delete(name);
      const list = encodeBitmap([0, 1, adminOpcode.CAP_ID_LIST_QUERY, adminOpcode.DEVICE_CAP_GET]);
      if (chain.live) chain.writable.write(answered(0, 0, ...(name === 'LIST_QUERY' ? list : [])));
    });
    const listing = admin.group(groupType.SR_IOV);
    const asked = [admin.capabilities.ids(), admin.capabilities.get(roomCapability)];
    for (let i = 0; i < 60; i++) await Promise.resolve();
    asked.push(admin.capabilities.ids(), admin.capabilities.ids());
    await Promise.all([listing, ...asked]);
    expect(together.filter((names) => names.includes('LIST_USE'))).toEqual(['LIST_USE', 'LIST_USE']);
    expect(together.some((names) => names.includes('+'))).toBe(true);
  });

  // @holds 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
  it('takes reserved values for a command that is invalid', async () => {
    let answer = answered(0, 0);
    const { admin } = await recorded((command, { writable }) => {
      if (command.name !== 'CAP_ID_LIST_QUERY') return 'serve';
      writable.write(answer);
      return undefined;
    });
    answer = answered(99, 2);
    await expect(admin.capabilities.ids()).rejects.toMatchObject({
      status: 'EINVAL',
      qualifier: 'INVALID_OPCODE',
    });
    answer = answered(6, 200);
    await expect(admin.capabilities.ids()).rejects.toMatchObject({
      status: 'ENXIO',
      qualifier: 'INVALID_COMMAND',
    });
  });

  // @holds 2.13.2 driver: Basic Facilities of a Virtio Device / Administration virtqueues
  it('sends and receives whole 64-bit words, never less than the command needs', async () => {
    const { admin, seen } = await recorded();
    await admin.capabilities.set(roomCapability, { shelves: 2, books: 1 });
    await admin.capabilities.set(devPartsCapability, {
      get_parts_resource_objects_limit: 1,
      set_parts_resource_objects_limit: 1,
    });
    const shelf = await admin.createObject(shelfKind, { value: { width: 3 } });
    const book = await admin.createObject(bookKind, { value: { shelf: 0 }, tail: Uint8Array.of(1, 2, 3) });
    await book.query(5);
    await book.modify({ value: { shelf: 0 } });
    await admin.capabilities.ids();
    const vf = await admin.virtualFunction(1);
    await vf.stop();
    await vf.setParts(await vf.parts());
    await vf.partNames();
    await vf.resume();
    await book.destroy();
    await shelf.destroy();
    expect(new Set(seen.map(({ name }) => name)).size).toBe(13);
    for (const { readable, writable } of seen) {
      expect([readable.length % 8, writable % 8]).toEqual([0, 0]);
      expect(readable.length).toBeGreaterThanOrEqual(24);
      expect(writable).toBeGreaterThanOrEqual(8);
    }
    const lengthOf = (name: string): number => seen.find((one) => one.name === name)?.readable.length ?? 0;
    expect(lengthOf('DEV_MODE_SET')).toBe(32);
    expect(lengthOf('DRIVER_CAP_SET')).toBe(24 + 8 + 24);
  });

  // @holds 2.13.2 driver: Basic Facilities of a Virtio Device / Administration virtqueues
  it('reads as zero what the device did not write', async () => {
    let used = 32;
    const { admin } = await recorded((command, { writable }) => {
      if (command.name !== 'DEVICE_CAP_GET') return 'serve';
      // All of it lies in the buffer, and only a part of it is used.
      const whole = answered(0, 0, ...new Array(24).fill(0xff));
      for (const [i, slice] of [writable.slices(4)[0]!].entries()) slice.fill(i);
      writable.seek(0);
      writable.write(whole.subarray(0, used));
      return undefined;
    });
    expect(await admin.capabilities.get(roomCapability)).toMatchObject({ shelves: 2 ** 32 - 1, sizes: 255 });
    used = 12;
    expect(await admin.capabilities.get(roomCapability)).toMatchObject({
      shelves: 2 ** 32 - 1,
      books: 0,
      sizes: 0,
    });
    used = 4;
    expect(await admin.capabilities.get(roomCapability)).toMatchObject({ shelves: 0, kinds: 0n });
  });

  // @holds 2.13.2 driver: Basic Facilities of a Virtio Device / Administration virtqueues
  it('sends again what the device could not carry out yet, and gives up in the end', async () => {
    let left = 3;
    const { admin, names } = await recorded((command, { writable }) => {
      if (command.name !== 'CAP_ID_LIST_QUERY' || left-- <= 0) return 'serve';
      writable.write(answered(11, 7));
      return undefined;
    });
    expect(await admin.capabilities.ids()).toEqual([0, 0x800]);
    expect(names().filter((name) => name === 'CAP_ID_LIST_QUERY')).toHaveLength(4);
    left = 1000;
    await expect(admin.capabilities.ids()).rejects.toMatchObject({ status: 'EAGAIN', qualifier: 'TRYAGAIN' });
  });

  it('does not believe a device that answers without a status', async () => {
    const { admin } = await recorded((command) =>
      command.name === 'CAP_ID_LIST_QUERY' ? undefined : 'serve',
    );
    await expect(admin.capabilities.ids()).rejects.toMatchObject({
      code: 'BAD_RESPONSE',
      clause: 'device: Basic Facilities of a Virtio Device / Administration virtqueues',
    });
  });

  it('needs the feature, which needs a transport that carries it', async () => {
    const reserved = [...defaultAcceptedFeatures, 'ADMIN_VQ'] as const;
    const plain = await open((await connectPci(device(library, {}))).transport, library, {
      features: [],
      reserved,
    });
    await expect(openAdmin(plain)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    const loopback = new Loopback(administer(device(library, {})));
    const other = await open(loopback, library, { features: [], reserved });
    await expect(openAdmin(other)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    expect(loopback.core.queues).toHaveLength(1);
  });
});

describe('capabilities', () => {
  // @holds 2.12.1.2.5 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
  it('are set within what the device shows, and while no object of theirs is there', async () => {
    const { admin, names } = await recorded();
    const sent = (): number => names().filter((name) => name === 'DRIVER_CAP_SET').length;
    expect(await admin.capabilities.get(roomCapability)).toMatchObject(offeredRoom);
    for (const value of [{ shelves: 5 }, { kinds: 2n }, { sizes: 7 }, { ...offeredRoom, colour: 3 }]) {
      await expect(admin.capabilities.set(roomCapability, value)).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
      });
    }
    expect(sent()).toBe(0);
    await admin.capabilities.set(roomCapability, { shelves: 3, books: 3 });
    const shelf = await admin.createObject(shelfKind, { value: {} });
    await expect(admin.capabilities.set(roomCapability, {})).rejects.toMatchObject({ code: 'BAD_STATE' });
    expect(sent()).toBe(1);
    await shelf.destroy();
    await admin.capabilities.set(roomCapability, {});
    expect(sent()).toBe(2);
  });
});

describe('resource objects', () => {
  // @holds 2.12.1.2.5 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
  // @holds 2.12.1.3.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
  it('are created after their capability was set, once each, and no more than it allows', async () => {
    const { admin, names } = await recorded();
    const sent = (): number => names().filter((name) => name === 'RESOURCE_OBJ_CREATE').length;
    const create = (id?: number) => admin.createObject(shelfKind, { value: { width: 1 } }, id);
    await expect(create()).rejects.toMatchObject({ code: 'BAD_STATE' });
    await admin.capabilities.set(roomCapability, { shelves: 2 });
    await create(1);
    await expect(create(1)).rejects.toMatchObject({ code: 'BAD_STATE' });
    await expect(create(2)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect((await create()).id).toBe(0);
    await expect(create()).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(sent()).toBe(2);
  });

  // @holds 2.12.1.3.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
  it('are not touched once destroyed, nor destroyed under those that depend on them', async () => {
    const { admin, names } = await recorded();
    await admin.capabilities.set(roomCapability, { shelves: 2, books: 2 });
    const shelf = await admin.createObject(shelfKind, { value: { width: 1, depth: 2 } });
    const book = await admin.createObject(bookKind, {
      value: { shelf: shelf.id, pages: 5 },
      tail: Uint8Array.of(9),
    });
    expect(await book.query(16)).toMatchObject({
      value: { shelf: 0, pages: 5 },
      tail: joined(Uint8Array.of(9), new Uint8Array(7)),
    });
    await book.modify({ value: { shelf: shelf.id, pages: 6 } });
    expect((await book.query()).value).toEqual({ shelf: 0, pages: 6 });
    await expect(shelf.destroy()).rejects.toMatchObject({ code: 'BAD_STATE' });
    await book.destroy();
    await shelf.destroy();
    const { length } = names();
    for (const again of [() => book.destroy(), () => book.query(), () => book.modify({ value: {} })]) {
      await expect(again()).rejects.toMatchObject({ code: 'BAD_STATE' });
    }
    expect(names()).toHaveLength(length);
  });

  it('that the device refuses are none', async () => {
    const { admin } = await recorded((command, { writable }) => {
      if (command.name !== 'RESOURCE_OBJ_CREATE') return 'serve';
      writable.write(answered(28, 6));
      return undefined;
    });
    await admin.capabilities.set(roomCapability, { shelves: 1 });
    for (let i = 0; i < 2; i++) {
      await expect(admin.createObject(shelfKind, { value: {} })).rejects.toMatchObject({ status: 'ENOSPC' });
    }
    await admin.capabilities.set(roomCapability, {});
  });
});

describe('a member', () => {
  // @holds 2.12.1.4.4.2 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('is given parts when it is stopped, in the order that they must have', async () => {
    const { admin, seen, names } = await recorded();
    await admin.capabilities.set(devPartsCapability, {
      get_parts_resource_objects_limit: 1,
      set_parts_resource_objects_limit: 1,
    });
    const vf = await admin.virtualFunction(1);
    const parts = await vf.parts();
    await expect(vf.setParts(parts)).rejects.toMatchObject({ code: 'BAD_STATE' });
    expect(names()).not.toContain('DEV_PARTS_SET');
    await vf.stop();
    await vf.setParts([...parts].reverse());
    const set = seen.find(({ name }) => name === 'DEV_PARTS_SET')!;
    const types = decodeParts(set.readable.subarray(24 + 8)).map(({ type }) => type);
    expect(types).toHaveLength(parts.length);
    const common = types.filter((type) => type < 0x200);
    expect(common).toEqual([...common].sort((one, other) => one - other));
    expect(types.slice(0, common.length)).toEqual(common);
    expect((await vf.parts(parts.slice(0, 2))).map(({ type }) => type)).toEqual([0x100, 0x101]);
    await vf.resume();
    await expect(vf.setParts(parts)).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  // @holds 2.12.1.4.4.2 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
  it('is asked with room enough for what it has', async () => {
    const { admin, seen } = await recorded();
    await admin.capabilities.set(devPartsCapability, {
      get_parts_resource_objects_limit: 1,
      set_parts_resource_objects_limit: 1,
    });
    const vf = await admin.virtualFunction(1);
    const parts = await vf.parts();
    expect(await vf.partNames()).toEqual(
      parts.map(({ type, selector, value }) => ({ type, selector, length: value.length })),
    );
    const size = parts.reduce((sum, { value }) => sum + 16 + value.length, 0);
    expect(seen.find(({ name }) => name === 'DEV_PARTS_GET')?.writable).toBeGreaterThanOrEqual(8 + size);
    const lists = seen.filter(({ name }) => name === 'DEV_PARTS_METADATA_GET');
    expect(lists.at(-1)?.writable).toBeGreaterThanOrEqual(16 + 16 * parts.length);
  });

  it('whose parts are not as it says, or without bound, is not believed', async () => {
    let size = 0xffff_ffff;
    const { admin } = await recorded((command, { writable }) => {
      if (command.name === 'DEV_PARTS_METADATA_GET') {
        writable.write(answered(0, 0));
        writable.u32(size);
        writable.u32(0);
      } else if (command.name === 'DEV_PARTS_GET') {
        writable.write(answered(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff));
      } else return 'serve';
      return undefined;
    });
    await admin.capabilities.set(devPartsCapability, {
      get_parts_resource_objects_limit: 1,
      set_parts_resource_objects_limit: 1,
    });
    const vf = await admin.virtualFunction(1);
    const wrong = { code: 'BAD_RESPONSE' };
    await expect(vf.parts()).rejects.toMatchObject(wrong);
    await expect(vf.partNames()).rejects.toMatchObject(wrong);
    size = 64;
    await expect(vf.parts()).rejects.toMatchObject(wrong);
  });
});
