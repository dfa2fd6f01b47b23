import type { Transport } from '../../driver/transport.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { FeatureSet, featureWords } from '../../spec/features.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { MmioAccess } from './access.ts';
import { invalid, MmioDriver, type MmioDriverOptions } from './driver-base.ts';
import { expectMmio } from './identify.ts';
import { type MmioRegister, mmioRegisters, mmioVersion } from './registers.ts';
import type { MmioSharedMemory } from './shared-memory.ts';

/** How often a queue's reset is looked for, and its stop. */
const resetTries = 1000;

/**
 * The driver's end of an MMIO device of version 2: what `open` needs.
 *
 * @spec 4.2.2.2 driver: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout
 */
export class MmioTransport extends MmioDriver<MmioRegister> implements Transport {
  readonly #ready = new Set<number>();

  /** @internal Use {@link MmioTransport.open}. */
  constructor(access: MmioAccess, deviceId: number, options: MmioDriverOptions = {}) {
    super(access, deviceId, mmioRegisters, options);
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

  /**
   * Sets a queue up and makes it ready, last of all.
   *
   * @throws {UsageError} BAD_STATE when it is ready by an earlier call.
   * @throws {PeerError} LAYOUT_INVALID when the device says that it is in use.
   */
  enableQueue(index: number, areas: QueueAreas): Promise<void> {
    return this.inTurn(async () => {
      const { registers } = this;
      if (this.#ready.has(index)) throw new UsageError('BAD_STATE', `queue ${index} is set up already`);
      await registers.write('QueueSel', index);
      if ((await registers.read('QueueReady')) !== 0) throw invalid(`its queue ${index} is in use already`);
      await registers.write('QueueSize', areas.size);
      await registers.write('QueueDescLow', areas.descriptor % 2 ** 32);
      await registers.write('QueueDescHigh', Math.floor(areas.descriptor / 2 ** 32));
      await registers.write('QueueDriverLow', areas.driver % 2 ** 32);
      await registers.write('QueueDriverHigh', Math.floor(areas.driver / 2 ** 32));
      await registers.write('QueueDeviceLow', areas.device % 2 ** 32);
      await registers.write('QueueDeviceHigh', Math.floor(areas.device / 2 ** 32));
      await registers.write('QueueReady', 1);
      this.#ready.add(index);
    });
  }

  /** @throws {PeerError} RESET_INCOMPLETE when the device never finishes. */
  resetQueue(index: number): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('QueueSel', index);
      await this.registers.write('QueueReset', 1);
      await this.#untilNotReady(index, 'QueueReset');
      this.#ready.delete(index);
    });
  }

  /**
   * Stops a queue where VIRTIO_F_RING_RESET was not negotiated. The device forgets the buffers that it has of it.
   *
   * @throws {PeerError} RESET_INCOMPLETE when the queue stays ready.
   */
  stopQueue(index: number): Promise<void> {
    return this.inTurn(async () => {
      await this.registers.write('QueueSel', index);
      await this.registers.write('QueueReady', 0);
      await this.#untilNotReady(index, 'QueueReady');
      this.#ready.delete(index);
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

  protected override forgetQueues(): void {
    this.#ready.clear();
  }

  protected override async stopQueues(): Promise<void> {
    for (const index of [...this.#ready]) await this.stopQueue(index);
  }

  async #untilNotReady(index: number, first: 'QueueReset' | 'QueueReady'): Promise<void> {
    for (let tries = 0; tries < resetTries; tries++) {
      if ((await this.registers.read(first)) !== 0) continue;
      if (first === 'QueueReady' || (await this.registers.read('QueueReady')) === 0) return;
    }
    throw new PeerError(
      'RESET_INCOMPLETE',
      `the MMIO device never lets go of queue ${index}: ${first} stays set`,
    );
  }

  async #pair(low: MmioRegister, high: MmioRegister): Promise<number> {
    return (await this.registers.read(low)) + (await this.registers.read(high)) * 2 ** 32;
  }
}

/** Two registers of all ones, as a number: it is not exact, and no region is as long. */
const allOnes = 0xffff_ffff + 0xffff_ffff * 2 ** 32;
