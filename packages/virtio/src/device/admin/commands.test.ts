import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adminOpcode } from '../../spec/admin.ts';
import { decodeBitmap, encodeBitmap } from '../../spec/bitmap.ts';
import { status } from '../../spec/status.ts';
import { SriovGroup } from '../../transports/pci/parts/sriov-group.ts';
import { saveDevice } from '../saving.ts';
import { failure, Owner, ok } from './owner.fixture.ts';

const listed = (...names: (keyof typeof adminOpcode)[]): Uint8Array =>
  encodeBitmap(names.map((name) => adminOpcode[name]));

describe.each([{ packed: false }, { packed: true }])(
  'administration virtqueues, packed $packed',
  ({ packed }) => {
    // @holds 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
    it('checks the group first, then the opcode, then the member', async () => {
      const owner = await Owner.start({ packed, groups: [new SriovGroup([])] });
      const wrong = { opcode: 0x7000, group: 9, member: 77n };
      expect(await owner.send(wrong)).toMatchObject(failure('EINVAL', 'INVALID_GROUP'));
      expect(await owner.send({ ...wrong, group: 0 })).toMatchObject(failure('EINVAL', 'INVALID_OPCODE'));
      await owner.useAll();
      expect(await owner.send({ ...wrong, group: 0, opcode: 'CAP_ID_LIST_QUERY' })).toMatchObject(
        failure('EINVAL', 'INVALID_MEMBER'),
      );
      expect(await owner.send({ opcode: 'CAP_ID_LIST_QUERY' })).toMatchObject(ok);
      // The lists are of a group and of no member.
      expect(await owner.send({ opcode: 'LIST_QUERY', member: 77n })).toMatchObject(ok);
    });

    // @holds 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
    it('lets a driver use two commands, and then those that it lists, until a reset', async () => {
      const owner = await Owner.start({ packed });
      const query = { opcode: 'CAP_ID_LIST_QUERY' } as const;
      expect(await owner.send(query)).toMatchObject(failure('EINVAL', 'INVALID_OPCODE'));
      const supported = decodeBitmap((await owner.send({ opcode: 'LIST_QUERY' })).result);
      expect(supported).toEqual([0, 1, 7, 8, 9, 10, 11, 12, 13]);
      const list = listed('LIST_USE', 'CAP_ID_LIST_QUERY');
      expect(await owner.send({ opcode: 'LIST_USE', data: list })).toMatchObject(ok);
      expect(await owner.send(query)).toMatchObject(ok);
      expect(await owner.send({ opcode: 'LIST_QUERY' })).toMatchObject(failure('EINVAL', 'INVALID_OPCODE'));
      expect(await owner.send({ opcode: 'DEVICE_CAP_GET' })).toMatchObject(
        failure('EINVAL', 'INVALID_OPCODE'),
      );

      owner.bus.pciFunction.core.reset();
      expect(saveDevice(owner.bus.pciFunction.core).administration).toMatchObject({ used: [[0, 0, 1]] });
    });

    // @holds 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
    it('refuses a list with a command that it does not have, and keeps the one before', async () => {
      const owner = await Owner.start({ packed });
      await owner.useAll();
      for (const data of [encodeBitmap([0, 1, 2]), encodeBitmap([0, 1, 0xffff]), encodeBitmap([0x12])]) {
        expect(await owner.send({ opcode: 'LIST_USE', data })).toMatchObject(
          failure('EINVAL', 'INVALID_FIELD'),
        );
      }
      expect(await owner.send({ opcode: 'CAP_ID_LIST_QUERY' })).toMatchObject(ok);
      const zeroes = new Uint8Array(3 * 2 ** 13);
      zeroes.set(listed('LIST_USE', 'LIST_QUERY', 'DEVICE_CAP_GET'));
      expect(await owner.send({ opcode: 'LIST_USE', data: zeroes })).toMatchObject(ok);
      expect(await owner.send({ opcode: 'CAP_ID_LIST_QUERY' })).toMatchObject(
        failure('EINVAL', 'INVALID_OPCODE'),
      );
    });

    // @holds 2.12.1.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands
    it('keeps the lists of groups apart, and has an SR-IOV group while VF Enable is set', async () => {
      const group = new SriovGroup([]);
      const owner = await Owner.start({ packed, groups: [group] });
      const query = { opcode: 'LIST_QUERY', group: 1 } as const;
      expect(await owner.send(query)).toMatchObject(failure('EINVAL', 'INVALID_GROUP'));
      group.enableVfs();
      expect(decodeBitmap((await owner.send(query)).result)).toEqual([0, 1, 10, 11, 12, 13, 14, 15, 16, 17]);
      await owner.useAll(1);
      expect(await owner.send({ opcode: 'DEVICE_CAP_GET' })).toMatchObject(
        failure('EINVAL', 'INVALID_OPCODE'),
      );
      for (const member of [0n, 1n, 2n ** 64n - 1n]) {
        const mode = { opcode: 'DEV_MODE_SET', group: 1, member } as const;
        expect(await owner.send(mode)).toMatchObject(failure('EINVAL', 'INVALID_MEMBER'));
      }
      group.disableVfs();
      expect(await owner.send(query)).toMatchObject(failure('EINVAL', 'INVALID_GROUP'));
    });

    // @holds 2.13.1 device: Basic Facilities of a Virtio Device / Administration virtqueues
    it('reads what a short buffer lacks as zero, and looks at nothing behind what it needs', async () => {
      const owner = await Owner.start({ packed });
      // Nothing at all is LIST_QUERY of the self group.
      expect(await owner.sendBytes(new Uint8Array(), 64)).toMatchObject({ ...ok, used: 16 });
      expect(await owner.sendBytes(new Uint8Array(3), 64)).toMatchObject({ ...ok, used: 16 });
      await owner.useAll();
      // The capability's id is cut off after its first byte: 0x0000 is no capability of this device.
      expect(await owner.send({ opcode: 'DEVICE_CAP_GET', data: Uint8Array.of(0) })).toMatchObject(
        failure('ENXIO', 'INVALID_FIELD'),
      );
      const long = new Uint8Array(100_000).fill(0xee);
      long.set([0x00, 0x08, 0, 0, 0, 0, 0, 0]);
      const answer = await owner.send({ opcode: 'DEVICE_CAP_GET', data: long, writable: 4096 });
      expect(answer).toMatchObject({ ...ok, used: 8 + 24 });
    });

    // @holds 2.13.1 device: Basic Facilities of a Virtio Device / Administration virtqueues
    it('writes whole 64-bit words, as far as there is room, and says how many bytes', async () => {
      const owner = await Owner.start({ packed });
      await owner.useAll();
      const data = Uint8Array.of(0x00, 0x08);
      for (const writable of [1, 2, 4, 7, 8, 9, 16, 31, 32, 33, 5000]) {
        const { used } = await owner.send({ opcode: 'DEVICE_CAP_GET', data, writable });
        expect(used).toBe(Math.min(writable, 32));
      }
      expect(await owner.send({ opcode: 'LIST_USE', data: listed('LIST_USE'), writable: 64 })).toMatchObject({
        ...ok,
        used: 8,
      });
      expect(await owner.send({ opcode: 0x8000, writable: 64 })).toMatchObject({
        ...failure('EINVAL', 'INVALID_OPCODE'),
        used: 8,
      });
    });

    // @holds 2.13.1 device: Basic Facilities of a Virtio Device / Administration virtqueues
    it('carries out the commands of a queue in their order, whichever of several queues it is', async () => {
      const owner = await Owner.start({ packed, queues: { count: 3, size: 8 }, adminQueues: 3 });
      expect(owner.opened.adminQueues.map(({ label }) => label)).toEqual(['adminq1', 'adminq2', 'adminq3']);
      await owner.useAll();
      for (const queue of [0, 1, 2]) {
        const narrow = { opcode: 'LIST_USE', data: listed('LIST_USE', 'LIST_QUERY') } as const;
        const wide = { opcode: 'LIST_USE', data: listed('LIST_USE', 'CAP_ID_LIST_QUERY') } as const;
        const answers = await Promise.all(
          [
            narrow,
            { opcode: 'CAP_ID_LIST_QUERY' } as const,
            wide,
            { opcode: 'CAP_ID_LIST_QUERY' } as const,
          ].map((command) => owner.send(command, queue)),
        );
        expect(answers.map(({ status: value }) => value)).toEqual([0, 22, 0, 0]);
      }
    });

    it('answers anything at all, and goes on', async () => {
      const group = new SriovGroup([]);
      const owner = await Owner.start({ packed, groups: [group] });
      group.enableVfs();
      const opcode = fc.oneof(fc.integer({ min: 0, max: 0x12 }), fc.integer({ min: 0, max: 0xffff }));
      const garbage = fc.record({
        opcode,
        group: fc.oneof(fc.constant(0), fc.constant(1), fc.integer({ min: 0, max: 0xffff })),
        member: fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
        data: fc.uint8Array({ maxLength: 100 }),
        writable: fc.integer({ min: 1, max: 100 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(garbage, { maxLength: 8 }), async (commands) => {
          for (const command of commands) await owner.send(command);
          await owner.sendBytes(
            Uint8Array.from(commands, (command) => command.opcode),
            8,
          );
        }),
        { numRuns: 60 },
      );
      expect(owner.bus.pciFunction.core.status & status.DEVICE_NEEDS_RESET).toBe(0);
      expect(owner.errors).toEqual([]);
    }, 20_000);
  },
);
