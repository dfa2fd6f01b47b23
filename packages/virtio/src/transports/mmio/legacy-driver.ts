import type { LegacyTransport, Transport } from '../../driver/transport.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { FeatureSet, type ReservedFeatureName } from '../../spec/features.ts';
import type { Endian } from '../../spec/guest-endian.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { MmioAccess } from './access.ts';
import { MmioDriver, type MmioDriverOptions } from './driver-base.ts';
import { expectMmio } from './identify.ts';
import { type LegacyMmioRegister, legacyMmioRegisters } from './legacy-registers.ts';
import { mmioVersion } from './registers.ts';

/** How a driver wants its device of version 1. */
export interface LegacyMmioDriverOptions extends MmioDriverOptions {
  /** The byte order that the device takes for the guest's; 'little' unless told. */
  readonly endian?: Endian | undefined;
}

/** GuestPageSize and QueueAlign, in bytes. */
const pageSize = 4096;

/** The driver's end of an MMIO device of version 1, the legacy interface: what `open` needs. */
export class LegacyMmioTransport extends MmioDriver<LegacyMmioRegister> implements Transport {
  override readonly carries: readonly ReservedFeatureName[] = ['INDIRECT_DESC', 'EVENT_IDX'];
  readonly legacy: LegacyTransport;
  #pageSizeTold = false;

  /** @internal Use {@link LegacyMmioTransport.open}. */
  constructor(access: MmioAccess, deviceId: number, options: LegacyMmioDriverOptions = {}) {
    super(access, deviceId, { registers: legacyMmioRegisters, inUse: 'QueuePFN' }, options);
    this.legacy = { endian: options.endian ?? 'little', queueAlign: pageSize, sizeIsFixed: false };
  }

  /**
   * Looks what is behind the window, and listens to its line. The device itself is not touched.
   *
   * @throws {UsageError} BAD_ARGUMENT when no virtio device is there.
   * @throws {PeerError} LAYOUT_INVALID when it is of another version.
   */
  static async open(access: MmioAccess, options: LegacyMmioDriverOptions = {}): Promise<LegacyMmioTransport> {
    const { version, deviceId } = await expectMmio(access);
    if (version !== mmioVersion.LEGACY) {
      throw new PeerError(
        'LAYOUT_INVALID',
        'the MMIO device is of version 2, not of the legacy interface: drive it with MmioTransport or openMmio',
      );
    }
    return new LegacyMmioTransport(access, deviceId, options);
  }

  /** The first 32 bits: the legacy interface has no more. */
  readDeviceFeatures(): Promise<FeatureSet> {
    return this.inTurn(async () => {
      await this.registers.write('HostFeaturesSel', 0);
      return FeatureSet.fromWords([await this.registers.read('HostFeatures')]);
    });
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('GuestFeaturesSel', 0);
      await this.registers.write('GuestFeatures', features.word(0));
    });
  }

  /** There is none. */
  async configGeneration(): Promise<number> {
    return 0;
  }

  /** @throws {UsageError} NOT_NEGOTIATED, always: the legacy interface cannot. */
  async resetQueue(index: number): Promise<void> {
    throw new UsageError(
      'NOT_NEGOTIATED',
      `queue ${index} cannot be reset alone through the legacy interface`,
    );
  }

  protected override forgetQueues(): void {
    super.forgetQueues();
    this.#pageSizeTold = false;
  }

  protected override async placeQueue(areas: QueueAreas): Promise<void> {
    const page = areas.descriptor / pageSize;
    if (!(Number.isInteger(page) && page > 0 && page < 2 ** 32)) {
      throw new UsageError('BAD_ARGUMENT', `a legacy queue cannot begin at ${areas.descriptor}`);
    }
    if (!this.#pageSizeTold) await this.registers.write('GuestPageSize', pageSize);
    this.#pageSizeTold = true;
    await this.registers.write('QueueSize', areas.size);
    await this.registers.write('QueueAlign', pageSize);
    await this.registers.write('QueuePFN', page);
  }
}
