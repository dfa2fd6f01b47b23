import { describe, expect, it } from 'vitest';
import { Guest } from './pci.fixture.ts';
import { commonRegisters } from './registers.ts';

/** The PCI_CFG capability of a function whose BARs answer nowhere. */
function windowOf(guest: Guest) {
  const { at } = guest.capability('PCI_CFG');
  const { pciFunction } = guest;
  const aim = (bar: number, offset: number, length: number): void => {
    pciFunction.configWrite(at + 4, 1, bar);
    pciFunction.configWrite(at + 8, 4, offset);
    pciFunction.configWrite(at + 12, 4, length);
  };
  return {
    aim,
    read: (offset: number, width: number): number => {
      aim(0, offset, width);
      return pciFunction.configRead(at + 16, width);
    },
    write: (offset: number, width: number, value: number): void => {
      aim(0, offset, width);
      pciFunction.configWrite(at + 16, width, value);
    },
    data: (width: number): number => pciFunction.configRead(at + 16, width),
    put: (width: number, value: number): void => pciFunction.configWrite(at + 16, width, value),
  };
}

describe('the PCI_CFG window', () => {
  // @holds 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
  it('reaches every register in its own width, with no BAR enabled', () => {
    const guest = new Guest();
    const window = windowOf(guest);
    const { queue_select, queue_size, queue_desc_lo, device_status } = commonRegisters.register;
    window.write(queue_select.offset, 2, 1);
    expect(window.read(queue_select.offset, 2)).toBe(1);
    expect(window.read(queue_size.offset, 2)).toBe(64);
    window.write(queue_desc_lo.offset, 4, 0xdeadbeef);
    expect(window.read(queue_desc_lo.offset, 4)).toBe(0xdeadbeef);
    window.write(device_status.offset, 1, 1);
    expect(window.read(device_status.offset, 1)).toBe(1);
    expect(window.read(guest.capability('DEVICE_CFG').offset, 4)).toBe(0x55667788);
    expect(guest.codes).toEqual([]);
  });

  // @holds 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
  it('uses the first cap.length bytes of pci_cfg_data, however wide the access to it is', () => {
    const guest = new Guest();
    const window = windowOf(guest);
    const { offset } = commonRegisters.register.queue_select;
    window.aim(0, offset, 2);
    window.put(4, 0xffff_0002);
    expect(window.data(4)).toBe(0xffff_0002);
    expect(window.data(1)).toBe(2);
    expect(guest.codes).toEqual([]);
    window.aim(0, commonRegisters.register.device_status.offset, 1);
    window.put(4, 0x0001_0003);
    expect(guest.pciFunction.core.status).toBe(3);
  });

  // @holds 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability
  it('makes the access again with every read and write of the data', () => {
    const guest = new Guest({ msixVectors: 0 }).enable().negotiate().go();
    const window = windowOf(guest);
    guest.device.updateConfig({ short: 1 });
    window.aim(0, guest.capability('ISR_CFG').offset, 1);
    expect(window.data(1)).toBe(2);
    expect(guest.level).toBe(false);
    expect(window.data(1)).toBe(0);
  });

  it('does nothing, and says so, when it is aimed at nothing', () => {
    const guest = new Guest();
    const window = windowOf(guest);
    for (const [bar, offset, length] of [
      [0, 0, 3],
      [0, 0, 8],
      [0, 2, 4],
      [0, 1, 2],
      [1, 0, 4],
      [7, 0, 4],
      [0, 0xffff_fffc, 4],
    ] as const) {
      window.aim(bar, offset, length);
      window.put(4, 1);
    }
    expect(guest.codes).toEqual(Array(7).fill('REGISTER_ACCESS'));
  });

  it('may be dumped with the rest of configuration space before anybody has aimed it', () => {
    const guest = new Guest();
    for (let offset = 0; offset < 256; offset += 4) guest.pciFunction.configRead(offset, 4);
    expect(guest.codes).toEqual([]);
  });
});
