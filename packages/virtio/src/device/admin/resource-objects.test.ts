import { expect, it } from 'vitest';
import { joined } from '../../spec/joined.ts';
import { connectPci } from '../../transports/pci/connect.ts';
import { restorePciFunction, savePciFunction } from '../../transports/pci/saving.ts';
import { bookKind, failure, Owner, ok, shelfKind } from './owner.fixture.ts';
import { createObject, sendObject, setRoom } from './resource.fixture.ts';

const start = async (): Promise<Owner> => {
  const owner = await Owner.start();
  await owner.useAll();
  await setRoom(owner, { shelves: 4, books: 3 });
  return owner;
};

const shelf = (id: number) => ({ type: shelfKind.type, id });
const book = (id: number) => ({ type: bookKind.type, id });

// @holds 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
it('creates as many objects as the driver has room for, under any ids below the limit', async () => {
  const owner = await start();
  for (const id of [3, 0, 2, 1]) expect(await createObject(owner, shelfKind, id, {})).toMatchObject(ok);
  expect(await createObject(owner, shelfKind, 4, {})).toMatchObject(failure('EINVAL', 'INVALID_FIELD'));
  expect(await createObject(owner, shelfKind, 2, {})).toMatchObject(failure('EEXIST', 'INVALID_FIELD'));
  expect(owner.log).toEqual(['+shelf3', '+shelf0', '+shelf2', '+shelf1']);
});

// @holds 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
it('answers a query with what was last given', async () => {
  const owner = await start();
  await createObject(owner, shelfKind, 1, {});
  const tail = Uint8Array.from({ length: 20 }, (_, i) => i);
  await createObject(owner, bookKind, 0, { shelf: 1, pages: 300 }, tail);
  const query = await sendObject(owner, 'RESOURCE_OBJ_QUERY', book(0));
  // Of what follows the fields, a book has 16 bytes.
  expect(query.result).toEqual(
    joined(bookKind.layout.encode({ shelf: 1, pages: 300 }), tail.subarray(0, 16)),
  );
  const modified = bookKind.layout.encode({ shelf: 1, pages: 7 });
  expect(await sendObject(owner, 'RESOURCE_OBJ_MODIFY', book(0), modified)).toMatchObject(ok);
  expect((await sendObject(owner, 'RESOURCE_OBJ_QUERY', book(0))).result).toEqual(modified);
});

// @holds 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
it('does not know objects that do not exist, whatever is asked of them', async () => {
  const owner = await start();
  for (const opcode of ['RESOURCE_OBJ_MODIFY', 'RESOURCE_OBJ_QUERY', 'RESOURCE_OBJ_DESTROY'] as const) {
    for (const reference of [shelf(0), shelf(0xffff_ffff), { type: 0x4ff, id: 0 }]) {
      expect(await sendObject(owner, opcode, reference)).toMatchObject(failure('ENXIO', 'INVALID_FIELD'));
    }
  }
  expect(await createObject(owner, { ...shelfKind, type: 0x4ff }, 0, {})).toMatchObject(
    failure('EINVAL', 'INVALID_FIELD'),
  );
  expect(owner.log).toEqual([]);
});

// @holds 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
it('keeps an object that another depends on as it is', async () => {
  const owner = await start();
  expect(await createObject(owner, bookKind, 0, { shelf: 2 })).toMatchObject(
    failure('ENXIO', 'INVALID_FIELD'),
  );
  await createObject(owner, shelfKind, 2, { width: 5 });
  await createObject(owner, shelfKind, 1, {});
  await createObject(owner, bookKind, 0, { shelf: 2 });
  for (const opcode of ['RESOURCE_OBJ_MODIFY', 'RESOURCE_OBJ_DESTROY'] as const) {
    expect(await sendObject(owner, opcode, shelf(2))).toMatchObject(failure('EBUSY', 'INVALID_COMMAND'));
  }
  const moved = bookKind.layout.encode({ shelf: 3 });
  expect(await sendObject(owner, 'RESOURCE_OBJ_MODIFY', book(0), moved)).toMatchObject(
    failure('ENXIO', 'INVALID_FIELD'),
  );
  const { result } = await sendObject(owner, 'RESOURCE_OBJ_QUERY', book(0));
  expect(result).toEqual(bookKind.layout.encode({ shelf: 2 }));

  await sendObject(owner, 'RESOURCE_OBJ_MODIFY', book(0), bookKind.layout.encode({ shelf: 1 }));
  expect(await sendObject(owner, 'RESOURCE_OBJ_DESTROY', shelf(2))).toMatchObject(ok);
  expect(await sendObject(owner, 'RESOURCE_OBJ_DESTROY', shelf(1))).toMatchObject(
    failure('EBUSY', 'INVALID_COMMAND'),
  );
  expect(await sendObject(owner, 'RESOURCE_OBJ_DESTROY', book(0))).toMatchObject(ok);
  expect(await sendObject(owner, 'RESOURCE_OBJ_DESTROY', shelf(1))).toMatchObject(ok);
});

// @holds 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
it('creates again what was destroyed, and destroys all with a reset, dependents first', async () => {
  const owner = await start();
  await createObject(owner, shelfKind, 0, {});
  await sendObject(owner, 'RESOURCE_OBJ_DESTROY', shelf(0));
  expect(await createObject(owner, shelfKind, 0, {})).toMatchObject(ok);
  await createObject(owner, bookKind, 1, { shelf: 0 });
  await createObject(owner, shelfKind, 1, {});
  await sendObject(owner, 'RESOURCE_OBJ_MODIFY', book(1), bookKind.layout.encode({ shelf: 1 }));
  owner.log.length = 0;
  owner.bus.pciFunction.core.reset();
  expect(owner.log).toEqual(['-book1', '-shelf1', '-shelf0']);
});

it('is saved and restored with its objects, limits and lists', async () => {
  const owner = await start();
  await createObject(owner, shelfKind, 3, { width: 9 });
  await createObject(owner, bookKind, 2, { shelf: 3, pages: 1 }, Uint8Array.of(1, 2, 3));
  const saved = JSON.parse(JSON.stringify(savePciFunction(owner.bus.pciFunction)));
  owner.bus.pciFunction.core.reset();
  owner.log.length = 0;
  restorePciFunction(owner.bus.pciFunction, saved);
  expect(owner.log).toEqual(['+shelf3', '+book2']);
  expect(savePciFunction(owner.bus.pciFunction).core.administration).toEqual(saved.core.administration);
  for (const administration of [
    { ...saved.core.administration, objects: 3 },
    { ...saved.core.administration, capabilities: [[0x800, 1]] },
    { ...saved.core.administration, capabilities: [] },
    { ...saved.core.administration, used: [['0']] },
    { ...saved.core.administration, objects: [{ head: [0x200, 9, 0, 0], flags: '0', bytes: [] }] },
    7,
  ]) {
    const state = { ...saved, core: { ...saved.core, administration } };
    expect(() => restorePciFunction(owner.bus.pciFunction, state)).toThrow(
      expect.objectContaining({ code: 'BAD_STATE' }),
    );
    expect(owner.bus.pciFunction.core.status).toBe(0);
  }
  await expect(connectPci(owner.bus.pciFunction.core.device)).rejects.toMatchObject({ code: 'BAD_STATE' });
});
