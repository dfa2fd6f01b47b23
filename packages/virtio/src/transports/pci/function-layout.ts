import type { DeviceCore } from '../../device/core.ts';
import { UsageError } from '../../errors.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import { Bar, type BarContent } from './bar.ts';
import * as capabilityId from './capability-id.ts';
import type { BarChoice, CapabilityRoom, PciLayout } from './capability-room.ts';
import * as cfgType from './cfg-type.ts';
import { ConfigSpace } from './config-space.ts';
import type { MsixTable } from './msix-table.ts';
import type { NotifyArea } from './notify-area.ts';
import type { PciFunctionOptions } from './options.ts';
import { configSpaceSize, pci_header } from './pci-registers.ts';
import {
  deviceIdBase,
  virtio_pci_cap,
  virtio_pci_cfg_cap,
  virtio_pci_common_cfg,
  virtio_pci_notify_cap,
  virtioVendorId,
} from './registers.ts';

/** What stands behind the BARs. */
export interface FunctionContents {
  readonly common: BarContent;
  readonly isr: BarContent;
  readonly notify: NotifyArea;
  /** Absent where the device type has no configuration. */
  readonly device: BarContent | undefined;
  readonly msix: MsixTable | undefined;
  /** Absent where there are no legacy drivers. */
  readonly legacy: (BarContent & { readonly length: number }) | undefined;
}

/** The ISR status is one byte; drivers that read its reserved bits along find them 0. */
const isrLength = 4;

const mainBar: BarChoice = { bar: 0, kind: 'memory64' };

/** Gives each structure its place behind a BAR, and the capability that tells the driver where. */
export class FunctionLayout implements CapabilityRoom {
  readonly config: ConfigSpace;
  /** By index. */
  readonly bars: Bar[] = [];
  /** Where the PCI_CFG capability stands; behind the end where there is none. */
  readonly cfgOffset: number;
  /** Where drivers write their notifications, each of them the whole structure. */
  readonly notifyPlaces: { readonly bar: number; readonly offset: number }[] = [];

  readonly #options: PciFunctionOptions;
  readonly #core: DeviceCore;
  readonly #mainBar: BarChoice;
  /** False for a legacy device, which has no virtio capabilities. */
  readonly #isModern: boolean;

  constructor(core: DeviceCore, options: PciFunctionOptions, contents: FunctionContents) {
    this.#core = core;
    this.#options = options;
    this.config = new ConfigSpace(this.#header());
    const { capabilities = [] } = options;
    const { legacy } = options;
    this.#mainBar = legacy?.mainBar ?? mainBar;
    if (legacy !== undefined && contents.legacy !== undefined) {
      this.place(legacy.bar, contents.legacy.length, 4, contents.legacy);
    }
    this.#isModern = legacy?.transitional !== false;
    if (this.#isModern) this.#addStructures(contents);
    this.cfgOffset = this.#isModern
      ? this.#addWindow(this.choices.common?.[0] ?? this.#mainBar)
      : configSpaceSize;
    for (const capability of capabilities) capability.add(this, capabilities);
    contents.msix?.add(this);
    this.#addBars();
    this.config.seal();
  }

  /** Where the structures are to be. */
  get choices(): PciLayout {
    return this.#options.layout ?? {};
  }

  /** Adds a virtio structure capability; returns its offset in configuration space. */
  addVirtio<F extends Fields>(
    structure: Struct<F>,
    fields: Partial<StructValue<F>>,
    writable?: Uint8Array,
  ): number {
    if (!this.#isModern) {
      throw new UsageError('BAD_ARGUMENT', `a legacy device cannot have the capability ${structure.name}`);
    }
    const body = structure.encode(fields);
    body.set(
      virtio_pci_cap.encode({ cap_vndr: capabilityId.VENDOR, cap_len: structure.size }).subarray(0, 3),
    );
    return this.config.addCapability(structure, body, writable);
  }

  /** Finds room behind a BAR, `length` bytes of it; `bytes` are what a host may map, if a new BAR is made. */
  place(
    { bar: index, kind }: BarChoice,
    length: number,
    alignment: number,
    content: BarContent,
    bytes?: Uint8Array,
  ): { bar: number; offset: number } {
    let bar = this.bars.find((one) => one.index === index);
    if (bar === undefined) {
      bar = new Bar(index, kind, this.choices.minimumMemoryBar ?? 4096, bytes);
      this.bars.push(bar);
      this.bars.sort((a, b) => a.index - b.index);
    }
    if (bar.kind !== kind)
      throw new UsageError('BAD_ARGUMENT', `BAR ${index} cannot be ${bar.kind} and ${kind}`);
    return { bar: index, offset: bar.place(length, alignment, content) };
  }

  /** @spec 4.1.2.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Discovery */
  #header(): Partial<StructValue<(typeof pci_header)['codecs']>> {
    const { type } = this.#core.device;
    const options = this.#options;
    return {
      vendor_id: virtioVendorId,
      device_id: deviceIdBase + type.id,
      revision_id: options.revision ?? 1,
      subclass: type.pciClass & 0xff,
      base_class: type.pciClass >>> 8,
      subsystem_vendor_id: options.subsystemVendorId ?? virtioVendorId,
      subsystem_id: options.subsystemId ?? deviceIdBase + type.id,
      interrupt_pin: options.interruptPin ?? 1,
      ...options.legacy?.ids?.(type, options),
    };
  }

  /**
   * Common, ISR, device configuration and notifications, each in the order of preference.
   *
   * @spec 4.1.4.2 device: Virtio Transport Options / Virtio Over PCI Bus / Virtio Structure PCI Capabilities
   * @spec 4.1.4.4.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Notification capability
   * @spec 4.1.4.6.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Device-specific configuration
   */
  #addStructures({ common, isr, device, notify }: FunctionContents): void {
    const { choices: layout } = this;
    const { notifyMultiplier = 4 } = this.#options;
    const add = (
      choices: readonly BarChoice[] = [this.#mainBar],
      type: number,
      length: number,
      content: BarContent,
    ) => {
      for (const choice of choices) {
        const place = this.place(choice, length, 4, content);
        this.addVirtio(virtio_pci_cap, { cfg_type: type, ...place, length });
      }
    };
    add(layout.common, cfgType.COMMON_CFG, virtio_pci_common_cfg.size, common);
    add(layout.isr, cfgType.ISR_CFG, isrLength, isr);
    const { size } = this.#core.device.type.config;
    if (device !== undefined) add(layout.device, cfgType.DEVICE_CFG, size, device);
    for (const choice of layout.notify ?? [this.#mainBar]) {
      const place = this.place(choice, notify.length, 4, notify);
      this.notifyPlaces.push(place);
      this.addVirtio(virtio_pci_notify_cap, {
        cfg_type: cfgType.NOTIFY_CFG,
        ...place,
        length: notify.length,
        notify_off_multiplier: notifyMultiplier,
      });
    }
  }

  /** The PCI_CFG window: the guest writes where it looks and what it writes there. */
  #addWindow({ bar }: BarChoice): number {
    const { size, field } = virtio_pci_cfg_cap;
    const writable = new Uint8Array(size);
    writable.fill(0xff, field.bar.offset, field.bar.offset + field.bar.size);
    writable.fill(0xff, field.offset.offset, size);
    return this.addVirtio(virtio_pci_cfg_cap, { cfg_type: cfgType.PCI_CFG, bar }, writable);
  }

  #addBars(): void {
    for (const bar of this.bars) {
      const taken = this.bars.some((other) => other.index === bar.index + 1);
      if (bar.kind === 'memory64' && taken) {
        throw new UsageError(
          'BAD_ARGUMENT',
          `BAR ${bar.index} is 64 bits wide and takes BAR ${bar.index + 1} as well`,
        );
      }
      const [low, high] = bar.writable;
      this.config.set(bar.register, 4, bar.type, low);
      if (bar.kind === 'memory64') this.config.set(bar.register + 4, 4, 0, high);
    }
    const spaces = this.bars.reduce((bits, bar) => bits | bar.decodeBit, 0);
    this.config.allow(pci_header.field.command.offset, spaces);
  }
}
