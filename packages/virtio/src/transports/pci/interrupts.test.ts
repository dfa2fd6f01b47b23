import { describe, expect, it } from 'vitest';
import { reservedFeatures } from '../../spec/features.ts';
import { Guest } from './pci.fixture.ts';
import { noVector } from './registers.ts';

const enableMsix = 0x8000;
const maskAll = 0x4000;
const busMasterOn = 0x6;

/** A live device with two queues that serve at once, without MSI-X unless vectors are asked for. */
function live(msixVectors = 0): Guest {
  const serve = { first: () => {}, second: () => {} };
  return new Guest({ msixVectors }, { serve, reserved: [] })
    .enable()
    .negotiate()
    .enableQueue(0)
    .enableQueue(1)
    .go();
}

describe('INTx', () => {
  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('is raised for a used buffer with the Queue Interrupt bit, and lowered by the read of the ISR status', () => {
    const guest = live();
    guest.offer(0);
    guest.kick(0);
    expect(guest.used(0)).toBe(1);
    expect(guest.line).toEqual([true]);
    expect(guest.header('status') & 8).toBe(8);
    expect(guest.isr()).toBe(1);
    expect(guest.line).toEqual([true, false]);
    expect(guest.header('status') & 8).toBe(0);
    expect(guest.isr()).toBe(0);
  });

  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('is raised for a configuration change with its own bit', () => {
    const guest = live();
    guest.device.updateConfig({ short: 1 });
    expect(guest.level).toBe(true);
    guest.offer(0);
    guest.kick(0);
    expect(guest.isr()).toBe(3);
    expect(guest.level).toBe(false);
  });

  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('stays low while the command register disables it, and rises when it may', () => {
    const guest = live();
    guest.command(0x400 | busMasterOn);
    guest.offer(0);
    guest.kick(0);
    expect(guest.line).toEqual([]);
    expect(guest.header('status') & 8).toBe(8);
    guest.command(busMasterOn);
    expect(guest.line).toEqual([true]);
    guest.command(0x400 | busMasterOn);
    expect(guest.line).toEqual([true, false]);
  });

  it('is low after a reset, whatever was raised', () => {
    const guest = live();
    guest.offer(0);
    guest.kick(0);
    guest.set('device_status', 0);
    expect(guest.line).toEqual([true, false]);
    expect(guest.isr()).toBe(0);
  });

  it('clears the ISR status by a read of any width', () => {
    const guest = live();
    guest.offer(0);
    guest.kick(0);
    expect(guest.read('ISR_CFG', 0, 4)).toBe(1);
    expect(guest.level).toBe(false);
  });

  it('is never driven by a function without an interrupt pin', () => {
    const guest = new Guest({ interruptPin: 0, msixVectors: 0 }).enable().negotiate().go();
    guest.device.updateConfig({ short: 1 });
    expect(guest.header('interrupt_pin')).toBe(0);
    expect(guest.line).toEqual([]);
  });
});

describe('MSI-X vectors', () => {
  // @holds 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('are told by Table Size: one for each queue and one more, unless told', () => {
    expect(new Guest().msix().size).toBe(4);
    expect(new Guest({ msixVectors: 2048 }).msix().size).toBe(2048);
    expect(new Guest({ msixVectors: 0 }).capabilities().some(({ id }) => id === 0x11)).toBe(false);
  });

  // @holds 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('take any event, give it back, and let go of it', () => {
    const guest = new Guest().enable();
    for (const vector of [0, 1, 2, 3, noVector]) {
      guest.set('config_msix_vector', vector);
      expect(guest.get('config_msix_vector')).toBe(vector);
      for (const queue of [0, 1, 2]) {
        guest.set('queue_select', queue);
        guest.set('queue_msix_vector', vector);
        expect(guest.get('queue_msix_vector')).toBe(vector);
      }
    }
  });

  // @holds 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('read back as NO_VECTOR where mapping fails: outside the table, and where the host has none', () => {
    const guest = new Guest({ acceptVector: (vector) => vector !== 2 }).enable();
    for (const vector of [2, 4, 0x7ff, 0xfffe]) {
      guest.set('config_msix_vector', 1);
      guest.set('config_msix_vector', vector);
      expect(guest.get('config_msix_vector')).toBe(noVector);
      guest.set('queue_msix_vector', vector);
      expect(guest.get('queue_msix_vector')).toBe(noVector);
    }
  });

  // @holds 4.1.5.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Device Initialization / MSI-X Vector Configuration
  it('are mapped to nothing after a reset', () => {
    const guest = new Guest().enable();
    guest.set('config_msix_vector', 0);
    guest.set('queue_msix_vector', 1);
    guest.set('device_status', 0);
    expect([guest.get('config_msix_vector'), guest.get('queue_msix_vector')]).toEqual([noVector, noVector]);
  });

  it('send their messages for the events that are mapped to them, and leave INTx low', () => {
    const guest = live(3);
    guest.msixControl(enableMsix);
    for (const vector of [0, 1, 2]) guest.programVector(vector);
    guest.set('config_msix_vector', 0);
    guest.set('queue_select', 1);
    guest.set('queue_msix_vector', 2);
    guest.offer(1);
    guest.kick(1);
    guest.device.updateConfig({ short: 1 });
    expect(guest.messages).toEqual([
      { address: 0xfee0_0000, data: 2 },
      { address: 0xfee0_0000, data: 0 },
    ]);
    expect(guest.line).toEqual([]);
    expect(guest.header('status') & 8).toBe(0);
  });

  // @holds 4.1.5.3.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Used Buffer Notifications
  // @holds 4.1.5.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI-specific Initialization And Device Operation / Notification of Device Configuration Changes
  it('send nothing for an event without a vector', () => {
    const guest = live(2);
    guest.msixControl(enableMsix);
    guest.programVector(0);
    guest.programVector(1);
    guest.offer(0);
    guest.kick(0);
    guest.device.updateConfig({ short: 1 });
    expect(guest.used(0)).toBe(1);
    expect([guest.messages, guest.line]).toEqual([[], []]);
    guest.set('queue_select', 0);
    guest.set('queue_msix_vector', 1);
    guest.set('queue_msix_vector', noVector);
    guest.offer(0, 2);
    guest.kick(0);
    expect([guest.messages, guest.line]).toEqual([[], []]);
  });

  // @holds 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability
  it('leave the configuration bit of the ISR status to be read, and the queue bit alone', () => {
    const guest = live(1);
    guest.msixControl(enableMsix);
    guest.offer(0);
    guest.kick(0);
    guest.device.updateConfig({ short: 1 });
    expect(guest.isr()).toBe(2);
  });

  it('hold a message while masked, show it as pending, and send it once when unmasked', () => {
    const guest = live(2);
    guest.msixControl(enableMsix);
    guest.programVector(1, true);
    guest.set('queue_select', 0);
    guest.set('queue_msix_vector', 1);
    for (const count of [1, 2]) {
      guest.offer(0, count);
      guest.kick(0);
    }
    expect(guest.messages).toEqual([]);
    expect(guest.pending()).toBe(2);
    guest.programVector(1);
    expect(guest.messages).toHaveLength(1);
    expect(guest.pending()).toBe(0);
  });

  it('hold all messages while the function is masked, is not enabled, or may not master the bus', () => {
    const holds: ((guest: Guest, held: boolean) => void)[] = [
      (guest, held) => guest.msixControl(held ? enableMsix | maskAll : enableMsix),
      (guest, held) => guest.command(held ? 0x2 : busMasterOn),
    ];
    for (const hold of holds) {
      const guest = live(2);
      guest.msixControl(enableMsix);
      guest.programVector(0);
      guest.set('config_msix_vector', 0);
      hold(guest, true);
      guest.device.updateConfig({ short: 1 });
      expect(guest.messages).toEqual([]);
      expect(guest.pending()).toBe(1);
      hold(guest, false);
      expect(guest.messages).toEqual([{ address: 0xfee0_0000, data: 0 }]);
      expect(guest.pending()).toBe(0);
    }
  });

  it('start masked, and take writes of aligned 32-bit words alone', () => {
    const guest = new Guest({ msixVectors: 65 }).enable();
    const [bar, table] = guest.msix().table;
    const [, pba] = guest.msix().pba;
    expect(guest.pciFunction.barRead(bar, table + 12, 4)).toBe(1);
    guest.pciFunction.barWrite(bar, table, 2, 0xffff);
    guest.pciFunction.barWrite(bar, table + 2, 4, 0xffff);
    guest.pciFunction.barWrite(bar, pba, 4, 1);
    expect(guest.pciFunction.barRead(bar, table, 4)).toBe(0);
    expect(guest.pending(2)).toBe(0);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS', 'REGISTER_ACCESS']);
    guest.pciFunction.barWrite(bar, table + 64 * 16 + 4, 4, 0x12);
    expect(guest.pciFunction.barRead(bar, table + 64 * 16 + 4, 4)).toBe(0x12);
    expect(guest.pciFunction.barRead(bar, table + 64 * 16 + 4, 1)).toBe(0x12);
  });

  it('fall back on INTx when MSI-X is switched off', () => {
    const guest = live(2);
    guest.msixControl(enableMsix);
    guest.msixControl(0);
    guest.offer(0);
    guest.kick(0);
    expect(guest.line).toEqual([true]);
  });
});

describe('the Bus Master bit', () => {
  // @holds 4.1.1 device: Virtio Transport Options / Virtio Over PCI Bus
  it('keeps the device from buffers while it is off, and lets it go on when it is on', () => {
    const guest = live();
    guest.command(0x2);
    guest.offer(0);
    guest.kick(0);
    expect([guest.used(0), guest.line]).toEqual([0, []]);
    guest.command(busMasterOn);
    expect([guest.used(0), guest.level]).toEqual([1, true]);
  });

  it('that a driver forgot is named when it kicks', () => {
    const guest = live();
    guest.command(0x2);
    guest.kick(0);
    expect(guest.errors.map(({ message }) => message).join()).toContain('Bus Master');
  });
});

describe('notifications', () => {
  const kicks = (guest: Guest) =>
    guest.events.flatMap((event) => (event.kind === 'notify' ? [event.queue] : []));

  it('reach their queue by 16 bits at its address', () => {
    for (const multiplier of [0, 2, 4, 4096]) {
      const guest = new Guest({ notifyMultiplier: multiplier }, { reserved: [] }).enable().negotiate();
      for (const queue of [0, 1, 2]) guest.enableQueue(queue);
      guest.go();
      for (const queue of [2, 0, 1]) guest.kick(queue, multiplier);
      expect(kicks(guest)).toEqual(['second2', 'first', 'second1']);
      expect(guest.codes).toEqual([]);
    }
  });

  it('are 32 bits with NOTIFICATION_DATA, and no other width', () => {
    const guest = new Guest().enable().negotiate(reservedFeatures.NOTIFICATION_DATA).enableQueue(1).go();
    guest.write('NOTIFY_CFG', 4, 4, 0x8003_0001);
    guest.write('NOTIFY_CFG', 4, 2, 1);
    expect(kicks(guest)).toEqual(['second1']);
    expect(guest.codes).toEqual(['REGISTER_ACCESS']);
  });

  it('carry queue_notif_config_data where that is negotiated', () => {
    const guest = new Guest({ notifConfigData: (queue) => 0x700 + queue }).enable();
    guest.negotiate(reservedFeatures.NOTIF_CONFIG_DATA).enableQueue(1).go();
    guest.write('NOTIFY_CFG', 4, 2, 0x701);
    guest.write('NOTIFY_CFG', 4, 2, 1);
    expect(kicks(guest)).toEqual(['second1']);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED']);
  });

  it('for no queue, at another queue’s address, of a wrong width, and reads, do nothing and are named', () => {
    const guest = live();
    guest.write('NOTIFY_CFG', 0, 2, 7);
    guest.write('NOTIFY_CFG', 4, 2, 0);
    guest.write('NOTIFY_CFG', 0, 4, 0);
    guest.write('NOTIFY_CFG', 0, 1, 0);
    expect(guest.read('NOTIFY_CFG', 0, 2)).toBe(0);
    expect(kicks(guest)).toEqual([]);
    expect(guest.codes).toEqual(['NOTIFICATION_UNEXPECTED', ...Array(4).fill('REGISTER_ACCESS')]);
  });
});
