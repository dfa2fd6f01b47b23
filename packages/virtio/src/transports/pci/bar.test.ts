import { describe, expect, it } from 'vitest';
import { Guest } from './pci.fixture.ts';

const bar = (guest: Guest, index: number) => guest.pciFunction.bars.find((one) => one.index === index);

describe('a BAR', () => {
  // @holds 4.1.1 device: Virtio Transport Options / Virtio Over PCI Bus
  it('tells its size and kind when all ones are written', () => {
    const layout = {
      common: [{ bar: 0, kind: 'memory64' }],
      isr: [{ bar: 2, kind: 'memory32' }],
      device: [{ bar: 3, kind: 'io' }],
      msix: { bar: 4, kind: 'memory32' },
    } as const;
    const guest = new Guest({ layout });
    const probe = (register: number): number => {
      guest.pciFunction.configWrite(register, 4, 0xffffffff);
      return guest.pciFunction.configRead(register, 4);
    };
    expect(probe(0x10)).toBe(2 ** 32 - (bar(guest, 0)?.size ?? 0) + 4);
    expect(probe(0x14)).toBe(0xffffffff);
    expect(probe(0x18)).toBe(2 ** 32 - 4096);
    expect(probe(0x1c)).toBe(2 ** 32 - 32 + 1);
    expect(probe(0x20)).toBe(2 ** 32 - 8192);
    expect(probe(0x24)).toBe(0);
    expect(guest.moves).toEqual([]);
  });

  it('is as large as its host needs memory to be', () => {
    const guest = new Guest({ layout: { minimumMemoryBar: 128 * 1024 } });
    expect(guest.pciFunction.bars.map(({ size }) => size)).toEqual([128 * 1024, 128 * 1024]);
  });

  it('moves, and its host hears of it, while the command register lets it answer', () => {
    const guest = new Guest({ msixVectors: 0 });
    guest.pciFunction.configWrite(0x10, 4, 0xfe00_0000);
    expect(guest.moves).toEqual([]);
    guest.command(2);
    guest.pciFunction.configWrite(0x10, 4, 0xfd00_0000);
    guest.pciFunction.configWrite(0x14, 4, 1);
    guest.command(0);
    guest.command(0x400);
    expect(guest.moves).toEqual([
      [{ index: 0, address: 0xfe00_0000, enabled: true }],
      [{ index: 0, address: 0xfd00_0000, enabled: true }],
      [{ index: 0, address: 0x1_fd00_0000, enabled: true }],
      [{ index: 0, address: 0x1_fd00_0000, enabled: false }],
    ]);
  });

  it('answers nowhere while it is being sized with decoding on', () => {
    const guest = new Guest({ msixVectors: 0 }).enable();
    expect(bar(guest, 0)?.enabled).toBe(true);
    guest.pciFunction.configWrite(0x14, 4, 0xffffffff);
    expect(bar(guest, 0)?.enabled).toBe(false);
    guest.pciFunction.configWrite(0x14, 4, 0);
    expect(bar(guest, 0)?.enabled).toBe(true);
    const layout = { isr: [{ bar: 4, kind: 'memory32' }] } as const;
    const other = new Guest({ layout }).enable();
    other.pciFunction.configWrite(0x20, 4, 0xffffffff);
    expect(bar(other, 4)?.enabled).toBe(false);
  });

  it('keeps to the decode bit of its own space', () => {
    const layout = { isr: [{ bar: 4, kind: 'io' }] } as const;
    const guest = new Guest({ layout }).enable();
    guest.command(1);
    expect([bar(guest, 0)?.enabled, bar(guest, 4)?.enabled]).toEqual([false, true]);
    guest.command(2);
    expect([bar(guest, 0)?.enabled, bar(guest, 4)?.enabled]).toEqual([true, false]);
  });

  it('reads as all ones and takes no write while it may not answer', () => {
    const guest = new Guest().enable();
    guest.set('queue_select', 1);
    guest.command(0);
    expect(guest.pciFunction.barRead(0, 0, 4)).toBe(0xffffffff);
    expect(guest.pciFunction.barRead(0, 0, 1)).toBe(0xff);
    expect(guest.pciFunction.barRead(3, 0, 2)).toBe(0xffff);
    guest.set('queue_select', 2);
    guest.command(2);
    expect(guest.get('queue_select')).toBe(1);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS', 'REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });

  it('has holes between its structures, which read as 0 and are named', () => {
    const guest = new Guest().enable();
    expect(guest.pciFunction.barRead(0, 100, 4)).toBe(0);
    guest.pciFunction.barWrite(0, 100, 4, 5);
    expect(guest.events.filter((event) => event.kind === 'register' && event.block === 'bar0')).toEqual([
      { kind: 'register', access: 'read', block: 'bar0', register: '?', offset: 100, width: 4, value: 0 },
      { kind: 'register', access: 'write', block: 'bar0', register: '?', offset: 100, width: 4, value: 5 },
    ]);
    expect(guest.codes).toEqual(['REGISTER_ACCESS', 'REGISTER_ACCESS']);
  });
});
