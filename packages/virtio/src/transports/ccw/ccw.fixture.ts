import { type Device, type DeviceBehaviour, device } from '../../device/device.ts';
import type { TraceEvent } from '../../device/trace.ts';
import { tracing } from '../../device/tracing.ts';
import type { VirtioError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { deviceType } from '../../spec/device-type.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { be64, bytes, le16, le32, le64, struct, u8 } from '../../spec/layout.ts';
import { status } from '../../spec/status.ts';
import { packedRing } from '../../virtqueue/packed/ring.ts';
import { inOrder } from '../../virtqueue/taken-order.ts';
import { ccw0, ccw1, orb, orbCtrl0 } from './ccw.ts';
import { type CcwDeviceOptions, ChannelSubsystem, type IoInterruption } from './channel-subsystem.ts';
import { type ChannelCommandName, channelCommand, type Revision } from './commands.ts';
import type { ControlUnit } from './control-unit.ts';
import { iscShift, pmcwChars, pmcwFlag, schib } from './schib.ts';
import { irb, senseBit } from './status.ts';
import { virtio_feature_desc, virtio_rev_info, vq_info_block } from './structures.ts';

/** A device type with a field of every width, and queues that a driver must tell apart. */
export const sample = deviceType({
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
  driverWritable: ['knob', 'wide'],
  pciClass: 0x0180,
});

export const sampleDevice = (behaviour: DeviceBehaviour<typeof sample> = {}): Device<typeof sample> =>
  device(sample, {
    offers: ['LOW', 'HIGH', 'HIGHEST'],
    queues: { first: { size: 64 }, second: { count: 2, size: 100 } },
    config: { capacity: 0x1122334455667788n, mac: Uint8Array.of(1, 2, 3, 4, 5, 6), short: 0xabcd, flag: 9 },
    ...behaviour,
  });

/** A CCW as a test writes it. */
export interface Word {
  readonly code: number;
  readonly count?: number;
  readonly cda?: number;
  readonly flags?: number;
}

/** What TEST SUBCHANNEL gave. */
export interface Status {
  readonly dstat: number;
  readonly cstat: number;
  readonly count: number;
  readonly cpa: number;
  readonly ctrl: number;
  readonly flags: number;
  /** The first sense byte of the IRB. */
  readonly sense: number;
}

export interface StartOptions {
  readonly format?: 0 | 1;
  readonly ctrl0?: number;
  readonly ctrl1?: number;
  readonly lpm?: number;
  readonly cpa?: number;
}

/** Where things lie in the guest's memory. */
export const place = { orb: 0x100, irb: 0x200, schib: 0x300, program: 0x1000, data: 0x2000 } as const;

/** Channel end and device end, and nothing else. */
export const fine = { dstat: 0x0c, cstat: 0 } as const;
export const rejected = { dstat: 0x0e, cstat: 0, sense: senseBit.COMMAND_REJECT } as const;

/** A guest with one device, that does what it is told, right or wrong. */
export class Guest {
  readonly memory: GuestMemory = GuestMemory.ofSize(2 ** 20);
  readonly errors: VirtioError[] = [];
  readonly events: TraceEvent[] = [];
  readonly interruptions: IoInterruption[] = [];
  readonly adapterInterruptions: number[] = [];
  readonly device: Device<typeof sample>;
  readonly css: ChannelSubsystem;
  readonly schid: number;

  constructor(options: CcwDeviceOptions = {}, behaviour: DeviceBehaviour<typeof sample> = {}) {
    this.device = sampleDevice(behaviour);
    this.css = new ChannelSubsystem({
      memory: this.memory,
      interrupt: (interruption) => void this.interruptions.push(interruption),
      adapterInterrupt: (isc) => void this.adapterInterruptions.push(isc),
    });
    this.schid = this.css.add(this.device, {
      devno: 0x1000,
      packedRing,
      inOrder,
      trace: tracing((event) => void this.events.push(event)),
      onError: (error) => void this.errors.push(error),
      ...options,
    });
  }

  get unit(): ControlUnit {
    return this.css.unit(this.schid);
  }

  /** The codes of what the device named, oldest first. */
  get codes(): string[] {
    return this.errors.map(({ code }) => code);
  }

  /** Enables the subchannel, with sense data in the IRB unless told. */
  enable(options: { sense?: boolean; isc?: number; on?: boolean } = {}): this {
    const { sense = true, isc = 3, on = true } = options;
    this.css.storeSubchannel(this.schid, place.schib);
    const { pmcw } = this.schib();
    const flags = pmcwFlag.DEVICE_NUMBER_VALID | (on ? pmcwFlag.ENABLED : 0) | (isc << iscShift);
    const chars = sense ? pmcwChars.CONCURRENT_SENSE : 0;
    this.memory.write(place.schib, schib.encode({ pmcw: { ...pmcw, intparm: 0xabc, flags, chars } }));
    const cc = this.css.modifySubchannel(this.schid, place.schib);
    if (cc !== 0) throw new Error(`MSCH ended with ${cc}`);
    return this;
  }

  schib() {
    return schib.read(this.view(place.schib, schib.size));
  }

  view(address: number, length: number): DataView {
    return new DataView(this.memory.read(address, length).buffer);
  }

  /** Writes a channel program and its ORB, and starts it. */
  start(words: readonly Word[], options: StartOptions = {}): number {
    const { format = 1, ctrl0 = 0, ctrl1 = 0, lpm = 0x80, cpa = place.program } = options;
    for (const [i, word] of words.entries()) this.writeWord(place.program + 8 * i, word, format);
    const control = ctrl0 | (format === 1 ? orbCtrl0.FORMAT1 : 0);
    this.memory.write(place.orb, orb.encode({ intparm: 0x1234, ctrl0: control, lpm, ctrl1, cpa }));
    return this.css.startSubchannel(this.schid, place.orb);
  }

  writeWord(address: number, word: Word, format: 0 | 1 = 1): void {
    const { code, count = 0, cda = 0, flags = 0 } = word;
    const one = { cmd_code: code, flags, count };
    this.memory.write(
      address,
      format === 1
        ? ccw1.encode({ ...one, cda })
        : ccw0.encode({ ...one, cda_high: cda >>> 16, cda_low: cda & 0xffff }),
    );
  }

  /** TEST SUBCHANNEL. */
  test(): { cc: number; status: Status } {
    const cc = this.css.testSubchannel(this.schid, place.irb);
    const { scsw, ecw } = irb.read(this.view(place.irb, irb.size));
    return { cc, status: { ...scsw, sense: ecw[0] ?? 0 } };
  }

  /** Runs a program to its end. */
  run(words: readonly Word[], options: StartOptions = {}): Status {
    const cc = this.start(words, options);
    if (cc !== 0) throw new Error(`SSCH ended with ${cc}`);
    const { cc: tested, status: taken } = this.test();
    if (tested !== 0) throw new Error(`TSCH ended with ${tested}`);
    return taken;
  }

  /** Runs one command on data at `place.data`; without a count, on just these. */
  command(
    name: ChannelCommandName,
    data: Uint8Array | number = 0,
    word: Partial<Word> = {},
    options: StartOptions = {},
  ): Status {
    const length = typeof data === 'number' ? data : data.length;
    this.memory.write(place.data, typeof data === 'number' ? new Uint8Array(length) : data);
    const cda = length === 0 ? 0 : place.data;
    return this.run([{ code: channelCommand[name], count: length, cda, ...word }], options);
  }

  /** The data of the last command. */
  data(length: number): Uint8Array {
    return this.memory.read(place.data, length);
  }

  select(revision: number): Status {
    return this.command('SET_VIRTIO_REV', virtio_rev_info.encode({ revision, length: 0 }));
  }

  setStatus(value: number): Status {
    return this.command('WRITE_STATUS', Uint8Array.of(value));
  }

  /** Enables, selects a revision, and negotiates the features whose bits are given, VERSION_1 among them. */
  negotiate(revision: Revision = 2, ...bits: number[]): this {
    this.enable().select(revision);
    this.command('VDEV_RESET');
    this.setStatus(status.ACKNOWLEDGE);
    this.setStatus(status.ACKNOWLEDGE | status.DRIVER);
    for (let index = 0; index < (revision === 0 ? 1 : 4); index++) {
      const all = revision === 0 ? bits : [reservedFeatures.VERSION_1, ...bits];
      const features = all.filter((bit) => bit >>> 5 === index).reduce((word, bit) => word | (1 << bit), 0);
      this.command('WRITE_FEAT', virtio_feature_desc.encode({ features: features >>> 0, index }));
    }
    if (revision > 0) this.setStatus(status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
    return this;
  }

  /** Where queue `index` is put. */
  queueAt(index: number) {
    const desc = 0x10000 * (index + 1);
    return { desc, driver: desc + 0x1000, device: desc + 0x2000 };
  }

  enableQueue(index: number, size = 16): Status {
    const { desc, driver, device: used } = this.queueAt(index);
    const areas = { desc: BigInt(desc), driver: BigInt(driver), device: BigInt(used) };
    return this.command('SET_VQ', vq_info_block.encode({ ...areas, index, size }));
  }

  /** Sets indicators of 64 bits at an address. */
  setIndicators(name: 'SET_IND' | 'SET_CONF_IND', address: number | bigint): Status {
    const block = new Uint8Array(8);
    be64.at(0).set(new DataView(block.buffer), 0, BigInt(address));
    return this.command(name, block);
  }

  go(): this {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
    this.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return this;
  }

  /** Makes descriptor 0, of 64 device-writable bytes, available in a split queue. */
  offer(index: number, count = 1): void {
    const { desc, driver } = this.queueAt(index);
    this.memory.write(desc, Uint8Array.of(0, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0));
    this.memory.write(driver + 2, Uint8Array.of(count, 0));
  }

  /** The used index of a split queue. */
  used(index: number): number {
    return this.view(this.queueAt(index).device + 2, 2).getUint16(0, true);
  }

  kick(index: number, cookie = 0n): bigint {
    return this.css.notify(BigInt(this.schid), BigInt(index), cookie);
  }
}
