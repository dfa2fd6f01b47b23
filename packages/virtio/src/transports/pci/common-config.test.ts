import { describe, expect, it } from 'vitest';
import { reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import { Guest } from './pci.fixture.ts';
import { commonRegisters, noVector } from './registers.ts';

const { RING_RESET, RING_PACKED, NOTIF_CONFIG_DATA } = reservedFeatures;

describe('the common configuration', () => {
  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('shows the offered features 32 at a time, and 0 behind the last', () => {
    const guest = new Guest().enable();
    const { offered } = guest.pciFunction.core;
    for (const word of [0, 1, 2, 3, 4, 5, 0x1000, 0xffffffff]) {
      guest.set('device_feature_select', word);
      expect(guest.get('device_feature_select')).toBe(word);
      expect(guest.get('device_feature')).toBe(word < 4 ? offered.word(word) : 0);
    }
    guest.set('device_feature_select', 3);
    expect(guest.get('device_feature')).toBe(0x8000_0000);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('shows the features that the driver wrote, 32 at a time', () => {
    const guest = new Guest().enable();
    guest.negotiate(0, 50, 127);
    const words = [0, 1, 2, 3, 4].map((word) => {
      guest.set('driver_feature_select', word);
      return guest.get('driver_feature');
    });
    expect(words).toEqual([1, (1 << 0) | (1 << 18), 0, 0x8000_0000, 0]);
    expect(guest.get('device_status') & status.FEATURES_OK).toBe(status.FEATURES_OK);
  });

  it('names features beyond the last word, and takes none', () => {
    const guest = new Guest().enable();
    guest.set('driver_feature_select', 4);
    guest.set('driver_feature', 0);
    expect(guest.codes).toEqual([]);
    guest.set('driver_feature', 1);
    expect(guest.codes).toEqual(['FEATURES_REFUSED']);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('moves config_generation once a changed value can have been read, and never comes round unseen', () => {
    const guest = new Guest().enable();
    const capacity = (): number => guest.read('DEVICE_CFG', 0, 4);
    const before = guest.get('config_generation');
    expect(capacity()).toBe(0x55667788);
    expect(guest.get('config_generation')).toBe(before);
    // 256 changes would bring a plain 8-bit counter back to where it was.
    for (let change = 0; change < 256; change++) guest.device.updateConfig({ capacity: BigInt(change) });
    expect(capacity()).toBe(255);
    expect(guest.get('config_generation')).not.toBe(before);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('shows a change between the two halves of a field', () => {
    const guest = new Guest().enable();
    const before = guest.get('config_generation');
    guest.read('DEVICE_CFG', 0, 4);
    guest.device.updateConfig({ capacity: 1n });
    guest.read('DEVICE_CFG', 4, 4);
    expect(guest.get('config_generation')).not.toBe(before);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('resets when 0 is written to device_status, and shows 0 then', () => {
    const guest = new Guest().enable().negotiate(RING_RESET).enableQueue(0).go();
    guest.set('queue_msix_vector', 1);
    guest.set('config_msix_vector', 0);
    guest.set('device_status', 0);
    expect(guest.get('device_status')).toBe(0);
    for (const select of ['device_feature_select', 'driver_feature_select', 'queue_select'] as const) {
      expect(guest.get(select)).toBe(0);
    }
    expect(guest.get('queue_enable')).toBe(0);
    expect(guest.get('queue_reset')).toBe(0);
    expect(guest.get('queue_size')).toBe(64);
    expect([guest.get('queue_desc_lo'), guest.get('queue_driver_lo')]).toEqual([0, 0]);
    expect([guest.get('queue_msix_vector'), guest.get('config_msix_vector')]).toEqual([noVector, noVector]);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('resets a queue alone, shows 0 in queue_reset and queue_enable then, and lets it be enabled again', () => {
    const guest = new Guest().enable().negotiate(RING_RESET).enableQueue(0).enableQueue(1).go();
    guest.set('queue_select', 0);
    guest.set('queue_msix_vector', 1);
    guest.set('queue_reset', 1);
    expect([guest.get('queue_reset'), guest.get('queue_enable')]).toEqual([0, 0]);
    expect(guest.get('queue_size')).toBe(64);
    expect(guest.get('queue_msix_vector')).toBe(noVector);
    guest.set('queue_select', 1);
    expect(guest.get('queue_enable')).toBe(1);
    guest.enableQueue(0, 8);
    expect([guest.get('queue_enable'), guest.get('queue_reset'), guest.get('queue_size')]).toEqual([1, 0, 8]);
    expect(guest.codes).toEqual([]);
  });

  it('names a queue_reset that was not negotiated, or of no queue, or of another value than 1', () => {
    const guest = new Guest().enable().negotiate().enableQueue(0).go();
    guest.set('queue_reset', 1);
    expect(guest.get('queue_enable')).toBe(1);
    guest.set('queue_reset', 2);
    guest.set('queue_select', 9);
    guest.set('queue_reset', 1);
    expect(guest.codes).toEqual(['FEATURES_REFUSED', 'REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('shows size 0 for a queue that is not there', () => {
    const guest = new Guest().enable();
    expect(guest.get('num_queues')).toBe(3);
    for (const index of [3, 0xffff]) {
      guest.set('queue_select', index);
      expect(guest.get('queue_size')).toBe(0);
      expect(guest.get('queue_enable')).toBe(0);
      expect(guest.get('queue_msix_vector')).toBe(noVector);
      guest.set('queue_enable', 1);
      expect(guest.get('queue_enable')).toBe(0);
    }
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('shows a power of two as the size of a split queue, and any size once packed rings are negotiated', () => {
    const guest = new Guest({}, { reserved: ['RING_PACKED'] }).enable();
    guest.set('queue_select', 1);
    expect(guest.get('queue_size')).toBe(64);
    guest.negotiate(RING_PACKED);
    guest.set('queue_select', 1);
    expect(guest.get('queue_size')).toBe(100);
    guest.set('queue_size', 77);
    expect(guest.get('queue_size')).toBe(77);
    expect(guest.codes).toEqual([]);
  });

  it('keeps its size when a wrong one is written, and names it', () => {
    const guest = new Guest().enable().negotiate();
    for (const size of [0, 3, 100, 128, 0xffff]) guest.set('queue_size', size);
    expect(guest.get('queue_size')).toBe(64);
    expect(guest.codes).toEqual(Array(5).fill('QUEUE_SIZE_INVALID'));
    guest.set('queue_size', 32);
    expect(guest.get('queue_size')).toBe(32);
  });

  it('leaves a queue enabled when 0 is written to queue_enable, and its set-up alone while it is', () => {
    const guest = new Guest().enable().negotiate().enableQueue(0, 16).go();
    guest.set('queue_enable', 0);
    guest.set('queue_desc_lo', 0x5000);
    guest.set('queue_size', 8);
    expect([guest.get('queue_enable'), guest.get('queue_desc_lo'), guest.get('queue_size')]).toEqual([
      1, 0x10000, 16,
    ]);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });

  // @holds 4.1.3.2 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
  it('takes and shows the halves of 64-bit fields one by one, in any order', () => {
    const guest = new Guest().enable();
    for (const area of ['queue_desc', 'queue_driver', 'queue_device'] as const) {
      guest.set(`${area}_hi`, 0x0012_3456);
      guest.set(`${area}_lo`, 0x89ab_cdef);
      expect([guest.get(`${area}_lo`), guest.get(`${area}_hi`)]).toEqual([0x89ab_cdef, 0x0012_3456]);
      guest.set(`${area}_hi`, 1);
      expect([guest.get(`${area}_lo`), guest.get(`${area}_hi`)]).toEqual([0x89ab_cdef, 1]);
    }
    expect([guest.read('DEVICE_CFG', 0, 4), guest.read('DEVICE_CFG', 4, 4)]).toEqual([
      0x55667788, 0x11223344,
    ]);
    expect(guest.codes).toEqual([]);
  });

  it('takes no write to what the driver may only read', () => {
    const guest = new Guest().enable();
    const readOnly = commonRegisters.registers.filter(({ access }) => access === 'read-only');
    expect(readOnly.map(({ name }) => name)).toContain('queue_notif_config_data');
    for (const { name } of readOnly) {
      const before = guest.get(name);
      guest.set(name, 0x55);
      expect(guest.get(name)).toBe(before);
    }
    expect(guest.codes).toEqual(readOnly.map(() => 'REGISTER_ACCESS'));
  });

  it('puts reads of another width together, and lets no write of another width change anything', () => {
    const guest = new Guest().enable();
    guest.set('queue_select', 1);
    const { offset } = commonRegisters.register.queue_select;
    expect(guest.read('COMMON_CFG', offset, 4)).toBe(1 + 64 * 0x10000);
    expect(guest.read('COMMON_CFG', offset + 2, 1)).toBe(64);
    expect(guest.read('COMMON_CFG', offset + 1, 4)).toBe(64 * 0x100 + 0xff * 2 ** 24);
    expect(guest.read('COMMON_CFG', 62, 4)).toBe(0);
    guest.write('COMMON_CFG', offset, 4, 0x00080002);
    guest.write('COMMON_CFG', offset, 1, 2);
    expect(guest.get('queue_select')).toBe(1);
    expect(guest.get('queue_size')).toBe(64);
    expect(guest.codes).toEqual(Array(6).fill('REGISTER_ACCESS'));
  });

  it('shows queue_notif_config_data once it is negotiated', () => {
    const guest = new Guest({ notifConfigData: (queue) => 0x700 + queue }).enable();
    const shown = (): number => {
      guest.set('queue_select', 2);
      return guest.get('queue_notif_config_data');
    };
    expect(shown()).toBe(0);
    guest.negotiate(NOTIF_CONFIG_DATA);
    expect(shown()).toBe(0x702);
  });

  // @holds 4.1.4.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout
  it('offers no administration virtqueue, and shows none', () => {
    const guest = new Guest().enable();
    guest.set('device_feature_select', 1);
    expect(guest.get('device_feature') & (1 << (reservedFeatures.ADMIN_VQ - 32))).toBe(0);
    expect(guest.get('admin_queue_index')).toBeGreaterThanOrEqual(guest.get('num_queues'));
    expect(guest.get('admin_queue_num')).toBe(0);
  });

  it('names each register in the trace', () => {
    const guest = new Guest().enable();
    guest.events.length = 0;
    guest.set('queue_select', 2);
    guest.get('queue_desc_hi');
    guest.isr();
    guest.read('DEVICE_CFG', 8, 1);
    guest.read('DEVICE_CFG', 14, 2);
    const named = guest.events.flatMap((event) =>
      event.kind === 'register' && event.block !== 'pci'
        ? [`${event.access} ${event.block}.${event.register}`]
        : [],
    );
    expect(named).toEqual([
      'write common.queue_select',
      'read common.queue_desc_hi',
      'read isr.isr_status',
      'read config.mac[0]',
      'read config.short',
    ]);
  });
});

describe('the device configuration', () => {
  it('reads whatever the width, and takes writes of whole fields that are the driver’s', () => {
    const written: unknown[] = [];
    const guest = new Guest(
      {},
      { writeConfig: (field, value) => void written.push([field, value]) },
    ).enable();
    expect(guest.read('DEVICE_CFG', 8, 4)).toBe(0x04030201);
    guest.write('DEVICE_CFG', 16, 4, 77);
    expect(guest.read('DEVICE_CFG', 16, 4)).toBe(77);
    guest.write('DEVICE_CFG', 16, 2, 5);
    guest.write('DEVICE_CFG', 0, 4, 5);
    expect(written).toEqual([['knob', 77]]);
    expect(guest.codes).toEqual(Array(3).fill('REGISTER_ACCESS'));
  });
});
