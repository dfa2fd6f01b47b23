import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { status } from '../../spec/status.ts';
import { fine, Guest, place, rejected, sampleDevice } from './ccw.fixture.ts';
import { ChannelSubsystem } from './channel-subsystem.ts';
import { channelCommand, commandName, type VirtioCommandName, virtioCommand } from './commands.ts';
import { legacyCcwDevice } from './legacy.ts';
import { bitNames, senseBit } from './status.ts';
import { virtio_feature_desc, virtio_rev_info, vq_config_block, vq_info_block } from './structures.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
const programCheck = { cstat: 0x20 };

const ownCommands = Object.entries(virtioCommand)
  // The keys of the table are the names.
  .map(([name]) => name as VirtioCommandName);

describe('a control unit', () => {
  it('says what it is', () => {
    const guest = new Guest().enable();
    expect(guest.command('SENSE_ID', 256)).toMatchObject({ ...fine, count: 0 });
    expect([...guest.data(256)]).toEqual([0xff, 0x38, 0x32, 20, ...Array(252).fill(0)]);
  });

  // @holds 4.3.1.3 device: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
  it('rejects every command that it does not know, and lives on', () => {
    const guest = new Guest().negotiate().go();
    for (let code = 0; code < 256; code++) {
      if (commandName(code) !== undefined || (code & 0x0f) === 0 || (code & 0x0f) === 8) continue;
      expect(guest.run([{ code, count: 1, cda: place.data, flags: 0x20 }])).toMatchObject(rejected);
    }
    expect(guest.unit.core.status).toBe(live);
    expect(guest.errors).toEqual([]);
  });

  it('tells the trace of every command', () => {
    const guest = new Guest().enable();
    guest.select(2);
    guest.run([{ code: 0x34, count: 12, cda: place.data, flags: 0x20 }]);
    expect(guest.events.filter(({ kind }) => kind === 'command')).toEqual([
      { kind: 'command', command: 'SET_VIRTIO_REV', code: 0x83, length: 4, end: 'done' },
      { kind: 'command', command: '?', code: 0x34, length: 0, end: 'reject' },
    ]);
  });

  it('needs to be told how revision 0 is served', () => {
    const css = new ChannelSubsystem({
      memory: GuestMemory.ofSize(4096),
      interrupt: () => {},
      adapterInterrupt: () => {},
    });
    expect(() => css.add(sampleDevice(), { revision: 0 })).toThrow(/legacyCcwDevice/);
  });

  it('is named bit by bit', () => {
    expect(bitNames(senseBit, 0x90)).toBe('COMMAND_REJECT|EQUIPMENT_CHECK');
    expect(bitNames(senseBit, 0)).toBe('nothing');
  });
});

describe('the revision', () => {
  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('is set once, among those that the device knows', () => {
    for (const revision of [0, 3, 0x100, 0xffff]) {
      expect(new Guest().enable().select(revision)).toMatchObject(rejected);
    }
    for (const revision of [1, 2] as const) {
      const guest = new Guest().enable();
      expect(guest.select(3)).toMatchObject(rejected);
      expect(guest.select(revision)).toMatchObject(fine);
      expect(guest.unit.revision).toBe(revision);
      for (const other of [0, 1, 2, 3]) expect(guest.select(other)).toMatchObject(rejected);
      expect(guest.unit.revision).toBe(revision);
    }
    const older = new Guest({ revision: 1 }).enable();
    expect(older.select(2)).toMatchObject(rejected);
    expect(older.select(1)).toMatchObject(fine);
  });

  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('comes with no data', () => {
    const guest = new Guest().enable();
    const data = virtio_rev_info.encode({ revision: 2, length: 2, data: [1, 2] });
    expect(guest.command('SET_VIRTIO_REV', data)).toMatchObject(rejected);
    expect(guest.command('SET_VIRTIO_REV', data.subarray(0, 4))).toMatchObject(rejected);
    expect(guest.select(2)).toMatchObject(fine);
  });

  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('comes before all other commands of virtio', () => {
    const guest = new Guest().enable();
    for (const name of ownCommands) {
      if (name === 'SET_VIRTIO_REV') continue;
      expect(guest.command(name, 64, { flags: 0x20 })).toMatchObject(rejected);
      expect(guest.errors.at(-1)).toMatchObject({
        code: 'REVISION_NOT_SET',
        clause:
          'driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision',
      });
    }
    for (const name of ['NOP', 'SENSE', 'SENSE_ID'] as const) {
      expect(guest.command(name, 1, { flags: 0x20 })).toMatchObject(fine);
    }
  });

  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('takes away what came with later ones', () => {
    const guest = new Guest().negotiate(1);
    expect(guest.command('READ_STATUS', 1)).toMatchObject(rejected);
    expect(guest.unit.core.status).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  });

  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('is forgotten when the subchannel is disabled, and over no reset', () => {
    const guest = new Guest().negotiate(2);
    expect(guest.command('VDEV_RESET')).toMatchObject(fine);
    expect(guest.unit.revision).toBe(2);
    guest.enable({ on: false }).enable();
    expect(guest.unit.revision).toBeUndefined();
    expect(guest.command('READ_STATUS', 1)).toMatchObject(rejected);
    expect(guest.select(1)).toMatchObject(fine);
  });

  it('stays as it is when an enabled subchannel is enabled', () => {
    const guest = new Guest().negotiate(2).enable({ isc: 1 });
    expect(guest.unit.revision).toBe(2);
  });

  it('is what nobody knows on the oldest devices', () => {
    const guest = new Guest({ revision: 0, legacy: legacyCcwDevice(), withoutRevisions: true }).enable();
    expect(guest.select(0)).toMatchObject(rejected);
    expect(guest.command('READ_CONF', 8)).toMatchObject(fine);
  });
});

describe('the device status', () => {
  // @holds 4.3.2.3.2 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
  it('is read from revision 2 on', () => {
    const guest = new Guest().negotiate(2).go();
    expect(guest.command('READ_STATUS', 1)).toMatchObject(fine);
    expect(guest.data(1)[0]).toBe(live);
  });

  // @holds 4.3.2.3.2 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information
  it('is rejected where it does not take, and left unchanged', () => {
    const guest = new Guest().enable();
    guest.select(1);
    const refused = (value: number): void => {
      const before = guest.unit.core.status;
      expect(guest.setStatus(value)).toMatchObject(rejected);
      expect(guest.unit.core.status).toBe(before);
    };
    refused(DRIVER_OK);
    refused(0x20);
    guest.setStatus(ACKNOWLEDGE);
    refused(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    guest.setStatus(ACKNOWLEDGE | DRIVER);
    refused(DRIVER);
    // Without VERSION_1.
    refused(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    guest.command('WRITE_FEAT', virtio_feature_desc.encode({ features: 1, index: 1 }));
    expect(guest.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)).toMatchObject(fine);
    refused(live | status.SUSPEND);
    expect(guest.setStatus(live)).toMatchObject(fine);
  });

  it('is 0 after the driver writes that, as after a reset', () => {
    const guest = new Guest().negotiate(2).go();
    expect(guest.setStatus(0)).toMatchObject(fine);
    expect(guest.unit.core.status).toBe(0);
  });

  it('takes a suspend', () => {
    const guest = new Guest().negotiate(2, 43).go();
    expect(guest.setStatus(live | status.SUSPEND)).toMatchObject(fine);
    expect(guest.unit.core.status).toBe((live & ~DRIVER_OK) | status.SUSPEND);
    expect(guest.setStatus(live)).toMatchObject(fine);
    expect(guest.unit.core.status).toBe(live);
  });
});

describe('a reset', () => {
  // @holds 4.3.3.3.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Resetting Devices
  it('is complete when the command ends, and nothing comes after it', async () => {
    let finish = (): void => {};
    const serve = { first: () => new Promise<void>((resolve) => (finish = resolve)) };
    const guest = new Guest({}, { serve }).negotiate();
    guest.setIndicators('SET_IND', 0x8000);
    guest.setIndicators('SET_CONF_IND', 0x8008);
    guest.enableQueue(0);
    guest.go();
    guest.offer(0);
    guest.kick(0);
    expect(guest.command('VDEV_RESET')).toMatchObject(fine);
    expect(guest.unit.core.status).toBe(0);
    const interruptions = guest.interruptions.length;
    finish();
    await Promise.resolve();
    guest.device.updateConfig({ short: 3 });
    guest.offer(0, 2);
    guest.kick(0);
    expect(guest.used(0)).toBe(0);
    expect([...guest.memory.read(0x8000, 16)]).toEqual(Array(16).fill(0));
    expect(guest.interruptions).toHaveLength(interruptions);
  });
});

describe('features', () => {
  it('are read and written by words of 32 bits, little-endian', () => {
    const guest = new Guest().enable();
    guest.select(2);
    const { offered } = guest.unit.core;
    for (const index of [0, 1, 2, 3, 4, 255]) {
      const data = virtio_feature_desc.encode({ index, features: 0xffff_ffff });
      expect(guest.command('READ_FEAT', data)).toMatchObject({ ...fine, count: 0 });
      const { features } = virtio_feature_desc.read(guest.view(place.data, 5));
      expect(features).toBe(offered.word(index));
    }
    guest.setStatus(ACKNOWLEDGE);
    guest.command('WRITE_FEAT', Uint8Array.of(1, 0, 4, 0, 1));
    expect(guest.unit.core.driverFeatures.bits()).toEqual([32, 50]);
  });

  it('beyond those there are may be accepted as none alone', () => {
    const guest = new Guest().enable();
    guest.select(2);
    expect(guest.command('WRITE_FEAT', virtio_feature_desc.encode({ index: 9 }))).toMatchObject(fine);
    expect(guest.errors).toEqual([]);
    guest.command('WRITE_FEAT', virtio_feature_desc.encode({ index: 9, features: 1 }));
    expect(guest.codes).toEqual(['FEATURES_REFUSED']);
  });

  it('hold no suspend for drivers that cannot read the status', () => {
    const read = (revision: 1 | 2): number => {
      const guest = new Guest().enable();
      guest.select(revision);
      guest.command('READ_FEAT', virtio_feature_desc.encode({ index: 1 }));
      return virtio_feature_desc.read(guest.view(place.data, 5)).features;
    };
    expect(read(2) & ~read(1)).toBe(1 << 11);
  });

  it('leave out what Channel I/O does not carry', () => {
    const { offered } = new Guest().unit.core;
    expect([40, 41].filter((bit) => offered.has(bit))).toEqual([]);
  });
});

describe('the configuration', () => {
  it('is read from its beginning, as far as the driver asks', () => {
    const guest = new Guest().negotiate();
    const size = guest.device.type.config.size;
    expect(guest.command('READ_CONF', size)).toMatchObject({ ...fine, count: 0 });
    expect([...guest.data(16)]).toEqual([
      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1, 2, 3, 4, 5, 6, 0xcd, 0xab,
    ]);
    expect(guest.command('READ_CONF', 3)).toMatchObject({ ...fine, count: 0 });
    expect(guest.command('READ_CONF', size + 3)).toMatchObject({ dstat: 0x0c, cstat: 0x40, count: 3 });
    expect(guest.command('READ_CONF', size + 3, { flags: 0x20 })).toMatchObject({ ...fine, count: 3 });
  });

  it('is written up to a field, which is the one that is meant, and where it differs', () => {
    const written: [string, unknown][] = [];
    const behaviour = { writeConfig: (...write: [string, unknown]) => void written.push(write) };
    const guest = new Guest({}, behaviour).negotiate();
    const whole = new Uint8Array(guest.device.type.config.size);
    const knob = guest.device.type.config.field.knob.offset;
    new DataView(whole.buffer).setUint32(knob, 0x1234, true);
    expect(guest.command('WRITE_CONF', whole.subarray(0, knob + 4))).toMatchObject(fine);
    expect(guest.command('WRITE_CONF', whole.subarray(0, knob + 4))).toMatchObject(fine);
    expect(written).toEqual(Array(2).fill(['knob', 0x1234]));
    expect(guest.command('WRITE_CONF', whole)).toMatchObject(fine);
    expect(written).toHaveLength(2);
    new DataView(whole.buffer).setBigUint64(knob + 4, 0x1_0000_0002n, true);
    expect(guest.command('WRITE_CONF', whole)).toMatchObject(fine);
    expect(written.at(-1)).toEqual(['wide', 0x1_0000_0002n]);
    // What is the device's is not touched.
    expect(guest.device.configSpace.values).toMatchObject({ capacity: 0x1122334455667788n, flag: 9 });
  });
});

describe('a virtqueue', () => {
  it('has a largest size, 0 where there is none', () => {
    const guest = new Guest().negotiate();
    for (const [index, size] of [
      [0, 64],
      [1, 64],
      [2, 64],
      [3, 0],
      [0xffff, 0],
    ] as const) {
      const data = vq_config_block.encode({ index, max_queue_size: 0xffff });
      expect(guest.command('READ_VQ_CONF', data)).toMatchObject({ ...fine, count: 0 });
      expect(vq_config_block.read(guest.view(place.data, 4))).toEqual({ index, max_queue_size: size });
    }
  });

  it('may have any size up to the largest where it is packed', () => {
    const guest = new Guest().negotiate(2, 34);
    guest.command('READ_VQ_CONF', vq_config_block.encode({ index: 1 }));
    expect(vq_config_block.read(guest.view(place.data, 4)).max_queue_size).toBe(100);
    expect(guest.enableQueue(1, 99)).toMatchObject(fine);
  });

  // @holds 4.3.2.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Configuring a Virtqueue
  it('is where it is set up, whatever the reserved field holds', () => {
    const guest = new Guest({}, { serve: { first: () => {} } }).negotiate();
    const { desc, driver, device } = guest.queueAt(0);
    const info = { index: 0, size: 16, desc: BigInt(desc), driver: BigInt(driver), device: BigInt(device) };
    expect(guest.command('SET_VQ', vq_info_block.encode({ ...info, res0: 0xdead_beef }))).toMatchObject(fine);
    expect(guest.unit.core.queues[0]).toMatchObject({ size: 16, descriptor: desc, driver, device });
    guest.go();
    guest.offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(1);
  });

  it('is rejected where it cannot be', () => {
    const guest = new Guest().negotiate();
    const set = (block: Parameters<typeof vq_info_block.encode>[0]) =>
      guest.command(
        'SET_VQ',
        vq_info_block.encode({ size: 16, desc: 4096n, driver: 8192n, device: 12288n, ...block }),
      );
    expect(set({ index: 3 })).toMatchObject(rejected);
    expect(set({ size: 65 })).toMatchObject(rejected);
    expect(set({ size: 48 })).toMatchObject(rejected);
    expect(set({ desc: 2n ** 60n })).toMatchObject(rejected);
    expect(guest.codes).toEqual(Array(4).fill('QUEUE_SIZE_INVALID'));
    expect(set({})).toMatchObject(fine);
    guest.go();
    expect(set({})).toMatchObject(rejected);
    expect(guest.codes.slice(4)).toEqual(['STATUS_SEQUENCE']);
  });

  it('is let go by setting it up as nothing', () => {
    const guest = new Guest().negotiate();
    guest.enableQueue(0);
    guest.go();
    expect(guest.command('SET_VQ', vq_info_block.encode({ index: 0 }))).toMatchObject(fine);
    expect(guest.unit.core.queues[0]).toMatchObject({ enabled: false, size: 64, descriptor: 0 });
  });

  it('is checked for data in no memory, and set up no more than before', () => {
    const guest = new Guest().negotiate();
    expect(guest.command('SET_VQ', 32, { cda: 2 ** 20 - 8 })).toMatchObject(programCheck);
    expect(guest.unit.core.queues[0]?.enabled).toBe(false);
    expect(guest.run([{ code: channelCommand.NOP }])).toMatchObject(fine);
  });
});
