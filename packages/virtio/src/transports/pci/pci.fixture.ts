import { type Device, type DeviceBehaviour, device } from '../../device/device.ts';
import type { TraceEvent } from '../../device/trace.ts';
import type { VirtioError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { deviceType } from '../../spec/device-type.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { bytes, le16, le32, le64, struct, u8 } from '../../spec/layout.ts';
import { status } from '../../spec/status.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import type { PciBar } from './bar.ts';
import { PciFunction } from './device.ts';
import { msix } from './msix-table.ts';
import type { PciFunctionOptions } from './options.ts';
import { commandBit, msix_cap, msixControl, pci_header } from './pci-registers.ts';
import { type CommonRegister, cfgType, commonRegisters, virtio_pci_cap } from './registers.ts';
import { pciTracing } from './tracing.ts';

const declaration = {
  id: 20,
  name: 'sample',
  features: { LOW: 0, HIGH: 50, HIGHEST: 127 },
  queues: { first: 0, second: { from: 1 } },
  config: struct('sample_config', {
    capacity: le64,
    mac: bytes(6),
    short: le16,
    knob: le32,
    wide: le64,
    flag: u8,
  }),
  driverWritable: ['knob'],
  pciClass: 0x0180,
} as const;

/** A device type with a field of every width, and queues of every kind that PCI must tell apart. */
export const sample = deviceType(declaration);

/** The same with an id that legacy drivers know: that of the block device. */
export const oldSample: typeof sample = deviceType({ ...declaration, id: 2 });

export type SampleBehaviour = DeviceBehaviour<typeof sample>;

export const sampleDevice = (behaviour: SampleBehaviour = {}, type = sample): Device<typeof sample> =>
  device(type, {
    offers: ['LOW', 'HIGH', 'HIGHEST'],
    queues: { first: { size: 64 }, second: { count: 2, size: 100 } },
    config: { capacity: 0x1122334455667788n, mac: Uint8Array.of(1, 2, 3, 4, 5, 6), short: 0xabcd, flag: 9 },
    ...behaviour,
  });

/** A capability as it stands in configuration space. */
export interface FoundCapability {
  readonly at: number;
  readonly id: number;
  readonly length: number;
  readonly type: number;
  readonly bar: number;
  readonly offset: number;
  readonly size: number;
}

/** A function with its host, and a guest that does what it is told, right or wrong. */
export class Guest {
  readonly memory: GuestMemory = GuestMemory.ofSize(2 ** 20);
  readonly errors: VirtioError[] = [];
  readonly events: TraceEvent[] = [];
  /** Each level that the interrupt line took. */
  readonly line: boolean[] = [];
  readonly messages: { address: number; data: number }[] = [];
  readonly moves: { index: number; address: number; enabled: boolean }[][] = [];
  readonly device: Device<typeof sample>;
  readonly pciFunction: PciFunction;

  constructor(options: Partial<PciFunctionOptions> = {}, behaviour: SampleBehaviour = {}) {
    this.device = sampleDevice(behaviour, options.legacy === undefined ? sample : oldSample);
    this.pciFunction = new PciFunction(this.device, {
      memory: this.memory,
      packedRing,
      inOrder,
      setInterruptLine: (level) => void this.line.push(level),
      msix: msix((address, data) => void this.messages.push({ address, data })),
      barsMoved: (bars) => void this.moves.push(bars.map(placeOf)),
      trace: pciTracing((event) => void this.events.push(event)),
      onError: (error) => void this.errors.push(error),
      ...options,
    });
  }

  /** The codes of what the device named, oldest first. */
  get codes(): string[] {
    return this.errors.map(({ code }) => code);
  }

  get level(): boolean {
    return this.line.at(-1) ?? false;
  }

  header(name: keyof typeof pci_header.field): number {
    const { offset, size } = pci_header.field[name];
    return this.pciFunction.configRead(offset, size);
  }

  /** Places the BARs one behind the other and switches everything on. */
  enable(): this {
    let next = 0xe000_0000;
    for (const bar of this.pciFunction.bars) {
      next = Math.ceil(next / bar.size) * bar.size;
      this.pciFunction.configWrite(pci_header.field.bar0.offset + 4 * bar.index, 4, next);
      next += bar.size;
    }
    this.command(commandBit.IO_SPACE | commandBit.MEMORY_SPACE | commandBit.BUS_MASTER);
    return this;
  }

  command(bits: number): void {
    this.pciFunction.configWrite(pci_header.field.command.offset, 2, bits);
  }

  capabilities(): FoundCapability[] {
    const { field } = virtio_pci_cap;
    const read = (offset: number, width: number): number => this.pciFunction.configRead(offset, width);
    const found: FoundCapability[] = [];
    for (let at = this.header('capabilities_pointer'); at !== 0; at = read(at + 1, 1)) {
      found.push({
        at,
        id: read(at, 1),
        length: read(at + field.cap_len.offset, 1),
        type: read(at + field.cfg_type.offset, 1),
        bar: read(at + field.bar.offset, 1),
        offset: read(at + field.offset.offset, 4),
        size: read(at + field.length.offset, 4),
      });
    }
    return found;
  }

  /** The first capability of a type. */
  capability(type: keyof typeof cfgType): FoundCapability {
    const found = this.capabilities().find((one) => one.id === 9 && one.type === cfgType[type]);
    if (found === undefined) throw new Error(`no capability ${type}`);
    return found;
  }

  read(type: keyof typeof cfgType, offset: number, width: number): number {
    const { bar, offset: base } = this.capability(type);
    return this.pciFunction.barRead(bar, base + offset, width);
  }

  write(type: keyof typeof cfgType, offset: number, width: number, value: number): void {
    const { bar, offset: base } = this.capability(type);
    this.pciFunction.barWrite(bar, base + offset, width, value);
  }

  get(name: CommonRegister): number {
    const { offset, width } = commonRegisters.register[name];
    return this.read('COMMON_CFG', offset, width);
  }

  set(name: CommonRegister, value: number): void {
    const { offset, width } = commonRegisters.register[name];
    this.write('COMMON_CFG', offset, width, value);
  }

  /** Reads the ISR status. */
  isr(): number {
    return this.read('ISR_CFG', 0, 1);
  }

  /** Goes through initialisation with the features whose bits are given, VERSION_1 among them. */
  negotiate(...bits: number[]): this {
    this.set('device_status', 0);
    this.set('device_status', status.ACKNOWLEDGE);
    this.set('device_status', status.ACKNOWLEDGE | status.DRIVER);
    for (let word = 0; word < 4; word++) {
      let value = 0;
      for (const bit of [reservedFeatures.VERSION_1, ...bits])
        if (bit >>> 5 === word) value |= 1 << (bit & 31);
      this.set('driver_feature_select', word);
      this.set('driver_feature', value >>> 0);
    }
    this.set('device_status', status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
    return this;
  }

  /** Places queue `index` at an address that is its own, and enables it. */
  enableQueue(index: number, size = 16): this {
    const base = 0x10000 * (index + 1);
    this.set('queue_select', index);
    this.set('queue_size', size);
    this.set('queue_desc_lo', base);
    this.set('queue_driver_lo', base + 0x1000);
    this.set('queue_device_lo', base + 0x2000);
    this.set('queue_enable', 1);
    return this;
  }

  go(): this {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
    this.set('device_status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return this;
  }

  /** Makes descriptor 0, of 64 device-writable bytes, available in a split queue; does not kick. */
  offer(index: number, count = 1): void {
    const base = 0x10000 * (index + 1);
    const write = (address: number, bytesOf: number[]): void =>
      this.memory.write(address, Uint8Array.from(bytesOf));
    write(base, [0, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0]);
    write(base + 0x1002, [count, 0]);
  }

  /** The used index of a split queue. */
  used(index: number): number {
    const at = 0x10000 * (index + 1) + 0x2002;
    return new DataView(this.memory.read(at, 2).buffer).getUint16(0, true);
  }

  kick(index: number, multiplier = 4): void {
    this.write('NOTIFY_CFG', index * multiplier, 2, index);
  }

  /** Where the MSI-X capability stands, its vectors, and where its tables are. */
  msix(): {
    at: number;
    size: number;
    table: [bar: number, offset: number];
    pba: [bar: number, offset: number];
  } {
    const at = this.capabilities().find(({ id }) => id === 0x11)?.at;
    if (at === undefined) throw new Error('no MSI-X');
    const place = (field: 'table' | 'pba'): [number, number] => {
      const value = this.pciFunction.configRead(at + msix_cap.field[field].offset, 4);
      return [value & 7, value & ~7];
    };
    const control = this.pciFunction.configRead(at + msix_cap.field.message_control.offset, 2);
    return { at, size: (control & msixControl.SIZE) + 1, table: place('table'), pba: place('pba') };
  }

  msixControl(bits: number): void {
    this.pciFunction.configWrite(this.msix().at + msix_cap.field.message_control.offset, 2, bits);
  }

  /** Programs a vector: its number is its message's data. */
  programVector(vector: number, masked = false): void {
    const [bar, offset] = this.msix().table;
    const base = offset + 16 * vector;
    this.pciFunction.barWrite(bar, base, 4, 0xfee0_0000);
    this.pciFunction.barWrite(bar, base + 4, 4, 0);
    this.pciFunction.barWrite(bar, base + 8, 4, vector);
    this.pciFunction.barWrite(bar, base + 12, 4, masked ? 1 : 0);
  }

  pending(word = 0): number {
    const [bar, offset] = this.msix().pba;
    return this.pciFunction.barRead(bar, offset + 4 * word, 4);
  }
}

const placeOf = ({ index, address, enabled }: PciBar) => ({ index, address, enabled });
