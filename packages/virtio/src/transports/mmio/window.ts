import { ControlRegisters } from '../../device/control-registers.ts';
import { DeviceCore } from '../../device/core.ts';
import type { Device } from '../../device/device.ts';
import type { LegacyInterface } from '../../device/legacy.ts';
import { RegisterBank } from '../../device/register-bank.ts';
import { restoreDevice, saveDevice } from '../../device/saving.ts';
import { restoreSelections, saveSelections } from '../../device/selections.ts';
import { UsageError } from '../../errors.ts';
import { busFreeFeatures } from '../../spec/features.ts';
import type { RegisterBlock } from '../../spec/registers.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type { InOrder } from '../../virtqueue/taken-order.ts';
import { InterruptLine } from './interrupt-line.ts';
import type { MmioWindowOptions, MmioWindowState } from './options.ts';
import { configOffset, interruptBit, magicValue, type SharedRegister } from './registers.ts';

/** No window is smaller, in bytes: device trees reserve that much. */
const smallestWindow = 0x200;

const defaultVendorId = 0x1af4;

/** What one version has of its own. */
interface WindowParts<N extends string> {
  readonly version: number;
  readonly registers: RegisterBlock<N>;
  readonly legacy?: LegacyInterface;
  readonly packedRing?: DeviceRing | undefined;
  readonly inOrder?: InOrder | undefined;
  /** The device's own configuration, as drivers of this version access it; `undefined` when its type has none. */
  config(core: DeviceCore): ConfigWindow | undefined;
  /** What to say of an access to a register of the other version. */
  hint(offset: number): string | undefined;
}

/** The device's own configuration behind the control registers. */
interface ConfigWindow {
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

/** What the two versions of MMIO have in common: one window of registers and one interrupt. */
export abstract class MmioWindow<N extends string> {
  /** The device's side of the rules. */
  readonly core: DeviceCore;
  /** Bytes of the window, to be placed in the guest's address space: a power of two. */
  readonly size: number;

  protected readonly control: ControlRegisters;
  readonly #version: number;
  readonly #vendorId: number;
  readonly #line: InterruptLine;
  readonly #registers: RegisterBank<N>;
  readonly #config: ConfigWindow | undefined;

  constructor(device: Device, options: MmioWindowOptions, parts: WindowParts<N>) {
    this.#version = parts.version;
    this.#vendorId = options.vendorId ?? defaultVendorId;
    this.#line = new InterruptLine(options.setInterruptLine);
    this.core = new DeviceCore(device, {
      memory: options.memory,
      interruptQueue: () => this.#line.raise(interruptBit.QUEUE),
      interruptConfig: () => this.#line.raise(interruptBit.CONFIG),
      carries: [...busFreeFeatures, 'NOTIFICATION_DATA'],
      packedRing: parts.packedRing,
      inOrder: parts.inOrder,
      legacy: parts.legacy,
      defer: options.defer,
      onError: options.onError,
      trace: options.trace,
    });
    this.control = new ControlRegisters(this.core);
    const target = {
      read: ({ name }: { readonly name: N }) => this.readRegister(name),
      write: ({ name }: { readonly name: N }, value: number) => this.writeRegister(name, value),
      hint: parts.hint,
    };
    this.#registers = new RegisterBank(parts.registers, target, this.core);
    this.#config = parts.config(this.core);
    const end = configOffset + device.type.config.size;
    this.size = Math.max(smallestWindow, 2 ** Math.ceil(Math.log2(end)));
  }

  /** Reads 1, 2 or 4 bytes at an offset into the window. What is not there reads as 0. */
  read(offset: number, width: number): number {
    if (isWidth(width)) {
      if (offset < configOffset) return this.#registers.read(offset, width);
      if (this.#config !== undefined) return this.#config.read(offset - configOffset, width);
    }
    this.#hole('read', offset, width, 0);
    return 0;
  }

  /** Writes 1, 2 or 4 bytes at an offset into the window. */
  write(offset: number, width: number, value: number): void {
    if (isWidth(width)) {
      const written = width === 4 ? value >>> 0 : value & (2 ** (8 * width) - 1);
      if (offset < configOffset) {
        this.#registers.write(offset, width, written);
        return;
      }
      if (this.#config !== undefined) {
        this.#config.write(offset - configOffset, width, written);
        return;
      }
    }
    this.#hole('write', offset, width, value);
  }

  /** A reset of the machine: everything is as after power-up, and the line is low. */
  reset(): void {
    this.core.reset();
    this.resetRegisters();
  }

  /** Goes on after a restore: the interrupt level is raised again, every queue looked at, its driver notified. */
  resume(): void {
    this.#line.raiseAgain();
    this.core.resume();
  }

  /** Lets go of the device, so that another transport may have it. */
  detach(): void {
    this.reset();
    this.core.detach();
  }

  protected abstract readRegister(name: N): number;
  protected abstract writeRegister(name: N, value: number): void;

  protected readShared(name: SharedRegister | N): number {
    switch (name) {
      case 'InterruptStatus':
        return this.#line.status;
      case 'Status':
        return this.core.status;
      case 'MagicValue':
        return magicValue;
      case 'Version':
        return this.#version;
      case 'DeviceID':
        return this.core.device.type.id;
      case 'VendorID':
        return this.#vendorId >>> 0;
      case 'QueueSizeMax':
        return this.control.queue?.maxSize ?? 0;
      default:
        return 0;
    }
  }

  protected writeShared(name: SharedRegister | N, value: number): void {
    switch (name) {
      case 'QueueNotify':
        this.#notify(value);
        return;
      case 'InterruptACK':
        if (!this.#line.acknowledge(value)) {
          const bits = `0x${value.toString(16)}`;
          this.core.violation(
            'REGISTER_ACCESS',
            `InterruptACK was given ${bits}, with bits that mean nothing`,
          );
        }
        return;
      case 'Status':
        this.core.writeStatus(value & 0xff);
        if ((value & 0xff) === 0) this.resetRegisters();
        return;
      case 'QueueSel':
        this.control.queueSelect = value;
        return;
      case 'QueueSize':
        this.control.writeQueueSize(name, value);
        return;
      default:
        return;
    }
  }

  /** The device was reset, by its driver or by the host: no event is pending, nothing selected. */
  protected resetRegisters(): void {
    this.control.reset();
    this.#line.reset();
  }

  protected saveWindow(): MmioWindowState {
    return {
      version: this.#version,
      interruptStatus: this.#line.status,
      ...saveSelections(this.control),
      core: saveDevice(this.core),
    };
  }

  /** @throws {UsageError} BAD_STATE when the state is of another device: this one stays reset. */
  protected restoreWindow(state: MmioWindowState): void {
    this.reset();
    if (state.version !== this.#version) {
      throw new UsageError(
        'BAD_STATE',
        `the saved state is of an MMIO device of version ${state.version}, and this one is ${this.#version}`,
      );
    }
    restoreDevice(this.core, state.core);
    restoreSelections(this.control, state);
    this.#line.restore(state.interruptStatus);
  }

  /** The queue's index, in the low 16 bits when VIRTIO_F_NOTIFICATION_DATA was negotiated. */
  #notify(value: number): void {
    const { core } = this;
    const index = core.negotiated('NOTIFICATION_DATA') ? value & 0xffff : value;
    if (index < core.queues.length) core.notify(index);
    else
      core.violation('NOTIFICATION_UNEXPECTED', `a notification names queue ${index}, which does not exist`);
  }

  #hole(access: 'read' | 'write', offset: number, width: number, value: number): void {
    this.core.trace?.register(access, { name: 'mmio' }, offset, width, value);
    this.core.misaccess(access, offset, width, 'the MMIO window');
  }
}

const isWidth = (width: number): width is 1 | 2 | 4 => width === 1 || width === 2 || width === 4;
