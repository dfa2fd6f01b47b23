import type { Transport } from '../../driver/transport.ts';
import { PeerError } from '../../errors.ts';
import { FeatureSet, featureWords } from '../../spec/features.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { MmioAccess } from './access.ts';
import { invalid, MmioDriver, type MmioDriverOptions } from './driver-base.ts';
import { expectMmio } from './identify.ts';
import { type MmioRegister, mmioRegisters, mmioVersion } from './registers.ts';
import type { MmioSharedMemory } from './shared-memory.ts';

/**
 * The driver's end of an MMIO device of version 2: what `open` needs.
 *
 * @spec 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
 */
export class MmioTransport extends MmioDriver<MmioRegister> implements Transport {
  /** @internal Use {@link MmioTransport.open}. */
  constructor(access: MmioAccess, deviceId: number, options: MmioDriverOptions = {}) {
    super(access, deviceId, { registers: mmioRegisters, inUse: 'QueueReady' }, options);
  }

  /**
   * Looks what is behind the window, and listens to its line. The device itself is not touched.
   *
   * @throws {UsageError} BAD_ARGUMENT when no virtio device is there.
   * @throws {PeerError} LAYOUT_INVALID when it is of another version.
   */
  static async open(access: MmioAccess, options: MmioDriverOptions = {}): Promise<MmioTransport> {
    const { version, deviceId } = await expectMmio(access);
    if (version !== mmioVersion.MODERN) {
      throw new PeerError(
        'LAYOUT_INVALID',
        'the MMIO device is of version 1, the legacy interface: drive it with LegacyMmioTransport or openMmio, ' +
          'or have its host show version 2 (QEMU: -global virtio-mmio.force-legacy=false)',
      );
    }
    return new MmioTransport(access, deviceId, options);
  }

  get #featureWords(): number {
    return this.deviations?.includes('TWO_FEATURE_WORDS') === true ? 2 : featureWords;
  }

  readDeviceFeatures(): Promise<FeatureSet> {
    return this.inTurn(async () => {
      const words: number[] = [];
      for (let word = 0; word < this.#featureWords; word++) {
        await this.registers.write('DeviceFeaturesSel', word);
        words.push(await this.registers.read('DeviceFeatures'));
      }
      return FeatureSet.fromWords(words);
    });
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.inTurn(async () => {
      for (let word = 0; word < this.#featureWords; word++) {
        await this.registers.write('DriverFeaturesSel', word);
        await this.registers.write('DriverFeatures', features.word(word));
      }
    });
  }

  configGeneration(): Promise<number> {
    return this.registers.read('ConfigGeneration');
  }

  /** @throws {PeerError} RESET_INCOMPLETE when the device never finishes. */
  resetQueue(index: number): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('QueueSel', index);
      await this.registers.write('QueueReset', 1);
      await this.untilClear(index, 'QueueReset', 'QueueReady');
      this.forgetQueue(index);
    });
  }

  /**
   * Where a shared memory region is, by its id; `undefined` when the device has none of that id.
   *
   * @throws {PeerError} LAYOUT_INVALID when it lies beyond 2^53.
   */
  sharedMemory(id: number): Promise<MmioSharedMemory | undefined> {
    return this.inTurn(async () => {
      await this.registers.write('SHMSel', id);
      const [length, address] = [
        await this.#pair('SHMLenLow', 'SHMLenHigh'),
        await this.#pair('SHMBaseLow', 'SHMBaseHigh'),
      ];
      if (length === allOnes) return undefined;
      if (!Number.isSafeInteger(address + length)) throw invalid(`its shared memory ${id} is beyond 2^53`);
      return { id, address, length };
    });
  }

  protected override async placeQueue(areas: QueueAreas): Promise<void> {
    const { registers } = this;
    await registers.write('QueueSize', areas.size);
    await registers.write('QueueDescLow', areas.descriptor % 2 ** 32);
    await registers.write('QueueDescHigh', Math.floor(areas.descriptor / 2 ** 32));
    await registers.write('QueueDriverLow', areas.driver % 2 ** 32);
    await registers.write('QueueDriverHigh', Math.floor(areas.driver / 2 ** 32));
    await registers.write('QueueDeviceLow', areas.device % 2 ** 32);
    await registers.write('QueueDeviceHigh', Math.floor(areas.device / 2 ** 32));
    await registers.write('QueueReady', 1);
  }

  async #pair(low: MmioRegister, high: MmioRegister): Promise<number> {
    return (await this.registers.read(low)) + (await this.registers.read(high)) * 2 ** 32;
  }
}

/** Two registers of all ones, as a number: it is not exact, and no region is as long. */
const allOnes = 0xffff_ffff + 0xffff_ffff * 2 ** 32;
