import { configBank } from '../../device/config-bank.ts';
import { DeviceCore } from '../../device/core.ts';
import type { Device } from '../../device/device.ts';
import { RegisterBank } from '../../device/register-bank.ts';
import { busFreeFeatures, type ReservedFeatureName } from '../../spec/features.ts';
import type { Bar, PciBar } from './bar.ts';
import * as commandBit from './command-bit.ts';
import { CommonConfig, type QueueNumbers } from './common-config.ts';
import { ConfigSpace } from './config-space.ts';
import { FunctionLayout } from './function-layout.ts';
import { Interrupts } from './interrupts.ts';
import type { LegacyRegisters } from './legacy-device.ts';
import type { MsixTable } from './msix-table.ts';
import { NotifyArea } from './notify-area.ts';
import type { PciFunctionOptions } from './options.ts';
import { checkOptions } from './options-check.ts';
import { pci_header } from './pci-registers.ts';
import { commonRegisters, isrRegisters, virtio_pci_cfg_cap } from './registers.ts';
import * as statusBit from './status-bit.ts';

/** @internal */
export interface FunctionParts {
  readonly config: ConfigSpace;
  readonly interrupts: Interrupts;
  readonly common: CommonConfig;
  readonly msix: MsixTable | undefined;
  readonly layout: FunctionLayout;
  readonly options: PciFunctionOptions;
}

const { command: commandField, status: statusField } = pci_header.field;
const barsEnd: number = pci_header.field.cardbus_cis_pointer.offset;
const windowField = virtio_pci_cfg_cap.field;

/**
 * A device as a whole PCI function: type 0 configuration header, BARs, capabilities, INTx and MSI-X. It is
 * non-transitional unless it is given a legacy interface, and knows no host: a host routes the guest's accesses to it.
 * No access throws. `savePciFunction` and `restorePciFunction` keep its state.
 *
 * The function keeps to PCI's Bus Master bit: while it is off no buffer is taken and no MSI-X message sent;
 * both wait until it is on.
 *
 * @throws {UsageError} BAD_ARGUMENT for options that make no function; BAD_STATE when the device is in use.
 * @spec 4.1.1 device: Virtio Transport Options / Virtio Over PCI Bus
 */
export class PciFunction {
  /** The device's side of the rules. */
  readonly core: DeviceCore;
  /** @internal The legacy structure, where there is one. */
  readonly legacy: LegacyRegisters | undefined;

  /** True while `stopPciFunction` holds it, over resets as well: that is its owner's to say. */
  stopped = false;
  /** @internal A configuration change waits for the owner's leave to be told. */
  configHeld = false;

  readonly #options: PciFunctionOptions;
  readonly #layout: FunctionLayout;
  readonly #config: ConfigSpace;
  readonly #interrupts: Interrupts;
  readonly #common: CommonConfig;
  readonly #msix: MsixTable | undefined;
  readonly #numbers: QueueNumbers;
  #busMaster = false;

  constructor(device: Device, options: PciFunctionOptions) {
    checkOptions(options);
    this.#options = options;
    const multiplier = options.notifyMultiplier ?? 4;
    const { notifConfigData } = options;
    const own: ReservedFeatureName[] = notifConfigData === undefined ? [] : ['NOTIF_CONFIG_DATA'];
    this.core = new DeviceCore(device, {
      memory: options.memory,
      interruptQueue: (index) => {
        // Every queue's driver is notified when the function goes on.
        if (!this.stopped) this.#interrupts.notifyQueue(index);
      },
      interruptConfig: () => {
        if (this.stopped) this.configHeld = true;
        else this.#interrupts.notifyConfig();
      },
      mayAccessMemory: () => this.#busMaster && !this.stopped,
      carries: [
        ...busFreeFeatures,
        'ADMIN_VQ',
        // A 32-bit notification needs an address that is a multiple of 4.
        ...(multiplier % 4 === 0 ? (['NOTIFICATION_DATA'] as const) : []),
        ...own,
      ],
      adds: own,
      packedRing: options.packedRing,
      inOrder: options.inOrder,
      legacy: options.legacy?.interface,
      transitional: options.legacy?.transitional,
      defer: options.defer,
      polling: options.polling,
      onError: options.onError,
      trace: options.trace,
    });
    try {
      this.#msix = this.#makeMsix();
      this.#interrupts = new Interrupts(
        this.core.queues.length,
        this.#msix,
        options.acceptVector ?? (() => true),
        (level) => {
          if (options.interruptPin !== 0) options.setInterruptLine?.(level);
        },
      );
      this.#numbers = {
        notifyOff: options.queueNotifyOff ?? ((queue) => queue),
        notifConfigData: notifConfigData ?? ((queue) => queue),
      };
      this.#common = new CommonConfig(this.core, this.#interrupts, this.#numbers);
      this.legacy = options.legacy?.makeRegisters({
        core: this.core,
        common: this.#common,
        interrupts: this.#interrupts,
        msix: this.#msix,
        becomeMaster: () => this.#becomeMaster(),
      });
      const notify = new NotifyArea(this.core, multiplier, this.#numbers, () => this.#busMaster);
      this.#layout = this.#makeLayout(notify);
    } catch (error) {
      this.core.detach();
      throw error;
    }
    this.#config = this.#layout.config;
  }

  /** The BARs that exist, by index. */
  get bars(): readonly PciBar[] {
    return this.#layout.bars;
  }

  /** Reads configuration space: 1, 2 or 4 bytes. What is not there reads as all ones. */
  configRead(offset: number, width: number): number {
    const value = this.#readConfig(offset, width);
    this.core.trace?.register('read', this.#config, offset, width, value);
    return value;
  }

  /** Writes configuration space: 1, 2 or 4 bytes. */
  configWrite(offset: number, width: number, value: number): void {
    this.core.trace?.register('write', this.#config, offset, width, value);
    if (!isWidth(width) || !ConfigSpace.holds(offset, width)) {
      this.core.misaccess('write', offset, width, 'configuration space');
      return;
    }
    this.#config.write(offset, width, value);
    const end = offset + width;
    if (offset < barsEnd && end > commandField.offset) this.#headerChanged();
    if (this.#msix?.reachedBy(offset, width) === true) this.#msixChanged();
    if (this.#touchesWindow(offset, end)) this.#writeWindow();
  }

  /** Reads behind a BAR: 1, 2 or 4 bytes at an offset within it. A BAR that is not enabled reads as all ones. */
  barRead(bar: number, offset: number, width: number): number {
    if (this.#bar(bar)?.enabled !== true) {
      this.core.misaccess('read', offset, width, `BAR ${bar}, which is not enabled`);
      return allOnes(width);
    }
    return this.regionRead(bar, offset, width);
  }

  /** Writes behind a BAR: 1, 2 or 4 bytes at an offset within it. A BAR that is not enabled takes none. */
  barWrite(bar: number, offset: number, width: number, value: number): void {
    if (this.#bar(bar)?.enabled === true) this.regionWrite(bar, offset, width, value);
    else this.core.misaccess('write', offset, width, `BAR ${bar}, which is not enabled`);
  }

  /**
   * Reads behind a BAR wherever the guest has put it, and whether or not it is enabled: for a host that routes accesses
   * by BAR and offset, and decodes addresses itself.
   */
  regionRead(bar: number, offset: number, width: number): number {
    const part = this.#bar(bar)?.at(offset);
    if (part !== undefined && isWidth(width)) return part.content.read(offset - part.offset, width);
    this.#hole('read', bar, offset, width, 0);
    return 0;
  }

  /** Writes behind a BAR wherever the guest has put it. */
  regionWrite(bar: number, offset: number, width: number, value: number): void {
    const part = this.#bar(bar)?.at(offset);
    if (part === undefined || !isWidth(width)) this.#hole('write', bar, offset, width, value);
    else
      part.content.write(
        offset - part.offset,
        width,
        width === 4 ? value >>> 0 : value & (2 ** (8 * width) - 1),
      );
  }

  /** A reset of the bus or of the function: the device, BARs, command register and MSI-X are as after power-up. */
  reset(): void {
    this.core.reset();
    this.#config.reset();
    this.#msix?.reset();
    this.#common.reset();
    this.#headerChanged();
  }

  /** @internal How the driver tells the function which queue it means. */
  get queueNumbers(): QueueNumbers {
    return this.#numbers;
  }

  /** @internal For what is not part of every function: saving it, its host's own ways. */
  get parts(): FunctionParts {
    return {
      config: this.#config,
      interrupts: this.#interrupts,
      common: this.#common,
      msix: this.#msix,
      layout: this.#layout,
      options: this.#options,
    };
  }

  /** @internal Configuration space was restored: nothing goes out before `resume`, as the host is not ready. */
  follow(stopped: boolean): void {
    this.#msix?.readControl(this.#config);
    this.stopped = stopped;
    this.#busMaster = (this.#command & commandBit.BUS_MASTER) !== 0;
    this.followMode();
    this.#followBars();
  }

  /** Goes on after a restore: the interrupt level is raised again, every queue looked at, its driver notified. */
  resume(): void {
    this.#interrupts.raiseAgain();
    this.core.resume();
  }

  /** Lets go of the device, so that another transport may have it. */
  detach(): void {
    this.reset();
    this.core.detach();
  }

  #makeMsix(): MsixTable | undefined {
    const { msix, msixVectors } = this.#options;
    return msixVectors === 0 ? undefined : msix?.makeTable(msixVectors, this.core);
  }

  #makeLayout(notify: NotifyArea): FunctionLayout {
    const { core } = this;
    const isr = { read: () => this.#interrupts.takeIsr(), write: () => {} };
    return new FunctionLayout(core, this.#options, {
      common: new RegisterBank(commonRegisters, this.#common, core),
      isr: new RegisterBank(isrRegisters, isr, core),
      notify,
      device: configBank(core, () => this.#common.followGeneration()),
      msix: this.#msix,
      legacy: this.legacy?.placed,
    });
  }

  #readConfig(offset: number, width: number): number {
    if (!isWidth(width) || !ConfigSpace.holds(offset, width)) {
      this.core.misaccess('read', offset, width, 'configuration space');
      return allOnes(width);
    }
    const end = offset + width;
    if (this.#touchesWindow(offset, end)) this.#readWindow();
    if (offset <= statusField.offset && end > statusField.offset) this.#showInterruptStatus();
    return this.#config.read(offset, width);
  }

  /** @spec 4.1.4.5.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / ISR status capability */
  #showInterruptStatus(): void {
    const others = this.#config.read(statusField.offset, 1) & ~statusBit.INTERRUPT;
    const shown = this.#interrupts.interruptStatus ? statusBit.INTERRUPT : 0;
    this.#config.set(statusField.offset, 1, others | shown);
  }

  get #command(): number {
    return this.#config.read(commandField.offset, 2);
  }

  /** The command register or a BAR may have changed. */
  #headerChanged(): void {
    this.#followBars();
    this.followMode();
    this.#interrupts.updateLine();
    this.#setBusMaster((this.#command & commandBit.BUS_MASTER) !== 0);
  }

  /** @internal What may go out: by the command register, and by the owner's leave. */
  followMode(): void {
    this.#interrupts.lineDisabled = this.stopped || (this.#command & commandBit.INTERRUPT_DISABLE) !== 0;
    if (this.#msix !== undefined) this.#msix.busMaster = this.#busMaster && !this.stopped;
  }

  #followBars(): void {
    let moved = false;
    for (const bar of this.#layout.bars) {
      const low = this.#config.read(bar.register, 4);
      const high = bar.kind === 'memory64' ? this.#config.read(bar.register + 4, 4) : 0;
      if (bar.update(low, high, this.#command)) moved = true;
    }
    if (moved) this.#options.barsMoved?.(this.#layout.bars);
  }

  /** Sets Bus Master for a driver that did not; true when it was off. */
  #becomeMaster(): boolean {
    if (this.#busMaster) return false;
    this.#config.set(commandField.offset, 2, this.#command | commandBit.BUS_MASTER);
    this.#headerChanged();
    return true;
  }

  /** What waited for the bit goes on: messages, and buffers that were made available meanwhile. */
  #setBusMaster(on: boolean): void {
    if (on === this.#busMaster) return;
    this.#busMaster = on;
    this.followMode();
    if (!on || this.stopped) return;
    this.#msix?.deliverPending();
    this.core.resume();
  }

  #msixChanged(): void {
    this.#msix?.readControl(this.#config);
    this.#interrupts.updateLine();
    this.#msix?.deliverPending();
  }

  #touchesWindow(offset: number, end: number): boolean {
    const data = this.#windowData;
    return offset < data + windowField.pci_cfg_data.size && end > data;
  }

  /** @spec 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability */
  #readWindow(): void {
    const { bar, offset, width } = this.#aim();
    if (width !== 0) this.#config.set(this.#windowData, width, this.regionRead(bar, offset, width));
  }

  /** @spec 4.1.4.9.1 device: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / PCI configuration access capability */
  #writeWindow(): void {
    const { bar, offset, width } = this.#aim();
    if (width !== 0) this.regionWrite(bar, offset, width, this.#config.read(this.#windowData, width));
  }

  /** Where the window's data stand in configuration space. */
  get #windowData(): number {
    return this.#layout.cfgOffset + windowField.pci_cfg_data.offset;
  }

  /** What the window shows; of no width when the driver has aimed it at nothing. */
  #aim(): { bar: number; offset: number; width: 0 | 1 | 2 | 4 } {
    const read = (field: { readonly offset: number }, width: number): number =>
      this.#config.read(this.#layout.cfgOffset + field.offset, width);
    const bar = read(windowField.bar, 1);
    const offset = read(windowField.offset, 4);
    const width = read(windowField.length, 4);
    const aimed = { bar, offset, width: 0 } as const;
    if (isWidth(width) && offset % width === 0 && this.#bar(bar) !== undefined) return { ...aimed, width };
    // Tools dump all of configuration space; that is no use of a window that nobody has aimed.
    if (width !== 0 || offset !== 0) {
      const message = `the PCI_CFG window shows ${width} bytes at ${offset} of BAR ${bar}`;
      this.core.violation('REGISTER_ACCESS', message);
    }
    return aimed;
  }

  #bar(index: number): Bar | undefined {
    const { bars } = this.#layout;
    for (let i = 0; i < bars.length; i++) if (bars[i]!.index === index) return bars[i];
    return undefined;
  }

  #hole(access: 'read' | 'write', bar: number, offset: number, width: number, value: number): void {
    this.core.trace?.register(access, { name: `bar${bar}` }, offset, width, value);
    this.core.misaccess(access, offset, width, `BAR ${bar}`);
  }
}

const isWidth = (width: number): width is 1 | 2 | 4 => width === 1 || width === 2 || width === 4;

const allOnes = (width: number): number => (isWidth(width) ? 2 ** (8 * width) - 1 : 2 ** 32 - 1);
