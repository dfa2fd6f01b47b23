import { DeviceCore } from '../../device/core.ts';
import type { Device } from '../../device/device.ts';
import type { DeviceHost } from '../../device/host.ts';
import { restoreDevice, saveDevice } from '../../device/saving.ts';
import type { DeviceState } from '../../device/state.ts';
import { tryStatus } from '../../device/try-status.ts';
import { useLegacy } from '../../device/use-legacy.ts';
import { UsageError } from '../../errors.ts';
import { channelIoMistakes } from '../../peer-errors.ts';
import { FeatureSet, featureWords, reservedFeatures } from '../../spec/features.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import type { ChannelData } from './channel-data.ts';
import type { CommandEnd } from './channel-program.ts';
import {
  type ChannelCommandName,
  commandName,
  latestRevision,
  type Revision,
  type VirtioCommandName,
  virtioControlUnitType,
} from './commands.ts';
import { writeDeviceConfig } from './config-write.ts';
import { ccwFeatures } from './features.ts';
import { exactAddress, type GuestAccess } from './guest-access.ts';
import { Indicators, type IndicatorsState, type NotificationSink } from './indicators.ts';
import type { CcwLegacyDevice } from './legacy.ts';
import { letQueueGo } from './let-queue-go.ts';
import { RevisionRules } from './revision-rules.ts';
import { senseBit, senseid, senseLength } from './status.ts';
import {
  device_status,
  indicator_address,
  virtio_feature_desc,
  virtio_rev_info,
  virtio_thinint_area,
  vq_config_block,
  vq_info_block,
} from './structures.ts';
import type { SubchannelUnit } from './subchannel.ts';

/** How a device is to be behind Channel I/O. */
export interface ControlUnitOptions
  extends Pick<DeviceHost, 'trace' | 'onError' | 'defer' | 'packedRing' | 'inOrder'> {
  /** The highest revision of virtio-ccw that it knows: 2 unless told. */
  readonly revision?: Revision;
  /**
   * Serves drivers at revision 0 as well, and those that set none: a transitional device; with `revision: 0` a legacy
   * one.
   */
  readonly legacy?: CcwLegacyDevice;
  /** The device knows no SET_VIRTIO_REV, as the first legacy ones: false unless told. */
  readonly withoutRevisions?: boolean;
  /** False: it knows no SET_IND_ADAPTER, as on a machine without adapter interruptions. True unless told. */
  readonly adapterInterrupts?: boolean;
}

/** A saved control unit: JSON. */
export interface ControlUnitState {
  readonly revision: Revision | null;
  readonly sense: readonly number[];
  readonly indicators: IndicatorsState;
  readonly core: DeviceState;
}

const needsReadStatus = FeatureSet.of([reservedFeatures.SUSPEND]);

/**
 * A device as a channel-attached control unit: what the channel commands do. What it does not know, what comes in the
 * wrong order and what carries nonsense ends with a unit check, command reject.
 *
 * @spec 4.3.1.3 device: Virtio Transport Options / Virtio over channel I/O / Basic Concepts
 */
export class ControlUnit implements SubchannelUnit {
  /** The device's side of the rules. */
  readonly core: DeviceCore;

  readonly #indicators: Indicators;
  readonly #revision: RevisionRules;
  readonly #legacy: CcwLegacyDevice | undefined;
  readonly #adapterInterrupts: boolean;
  #sense = new Uint8Array(senseLength);

  /** @throws {UsageError} BAD_STATE when the device is in use by another transport; BAD_ARGUMENT. */
  constructor(device: Device, guest: GuestAccess, options: ControlUnitOptions, sink: NotificationSink) {
    if (options.revision === 0 && options.legacy === undefined) {
      throw new UsageError('BAD_ARGUMENT', 'a device of revision 0 needs `legacy`, from `legacyCcwDevice()`');
    }
    this.core = new DeviceCore(device, {
      memory: guest.memory,
      interruptQueue: (index) => this.#indicators.notifyQueue(index),
      interruptConfig: () => this.#indicators.notifyConfig(),
      carries: ccwFeatures,
      packedRing: options.packedRing,
      inOrder: options.inOrder,
      defer: options.defer,
      onError: options.onError,
      trace: options.trace,
      legacy: options.legacy?.rules,
      transitional: true,
    });
    this.#legacy = options.legacy;
    this.#adapterInterrupts = options.adapterInterrupts ?? true;
    this.#indicators = new Indicators(guest, this.core, sink);
    const highest = options.revision ?? latestRevision;
    this.#revision = new RevisionRules(highest, options.legacy !== undefined, options.withoutRevisions);
  }

  /** The revision in use; `undefined` until the driver has selected one. */
  get revision(): Revision | undefined {
    return this.#revision.selected;
  }

  execute(code: number, data: ChannelData): CommandEnd {
    const name = commandName(code);
    // Sense data are of the command before.
    if (name !== 'SENSE' && name !== 'NOP') this.#sense = new Uint8Array(senseLength);
    const end = name === undefined ? 'reject' : this.#execute(name, data);
    if (end === 'reject') this.refuse();
    this.core.trace?.command(name, code, data.used, end);
    return end;
  }

  refuse(): void {
    this.#sense[0] = senseBit.COMMAND_REJECT;
  }

  takeSense(): Uint8Array {
    const sense = this.#sense;
    this.#sense = new Uint8Array(senseLength);
    return sense;
  }

  /** @spec 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision */
  enabled(): void {
    this.#revision.unset();
  }

  /** A notification, 32 bits. False when there is no such queue. */
  notify(data: number): boolean {
    const index = data & 0xffff;
    if (this.core.queue(index) === undefined) {
      this.core.violation('NOTIFICATION_UNEXPECTED', `queue ${index}, which does not exist, was notified`);
      return false;
    }
    if (data > 0xffff && !this.core.negotiated('NOTIFICATION_DATA')) {
      this.core.violation(
        'NOTIFICATION_UNEXPECTED',
        `queue ${index} was notified with data that were not negotiated`,
      );
    }
    this.core.notify(index);
    return true;
  }

  /** A reset of the channel subsystem. */
  reset(): void {
    this.#reset();
    this.#revision.unset();
    this.#sense = new Uint8Array(senseLength);
  }

  save(): ControlUnitState {
    return {
      revision: this.#revision.selected ?? null,
      sense: Array.from(this.#sense),
      indicators: this.#indicators.save(),
      core: saveDevice(this.core),
    };
  }

  /** @throws {UsageError} BAD_STATE when the state is of another device. */
  restore(state: ControlUnitState): void {
    this.reset();
    restoreDevice(this.core, state.core);
    this.#revision.restore(state.revision ?? undefined);
    this.#sense.set(state.sense.slice(0, senseLength));
    this.#indicators.restore(state.indicators);
  }

  resume(): void {
    this.core.resume();
  }

  detach(): void {
    this.reset();
    this.core.detach();
  }

  #execute(name: ChannelCommandName, data: ChannelData): CommandEnd {
    switch (name) {
      case 'NOP':
        return 'immediate';
      case 'SENSE':
        data.write(0, this.takeSense());
        return 'done';
      case 'SENSE_ID':
        data.write(0, this.#senseId());
        return 'done';
      case 'TIC':
        return 'reject';
      default:
        return this.#mayIssue(name) ? this.#virtio(name, data) : 'reject';
    }
  }

  #mayIssue(name: VirtioCommandName): boolean {
    if (!this.#revision.allows(name)) {
      const known = this.#revision.selected !== undefined;
      const message = `${name} was issued before a revision was set`;
      if (!known) this.core.violation('REVISION_NOT_SET', message, channelIoMistakes.REVISION_NOT_SET);
      return false;
    }
    // A reset ends the legacy interface, and not the revision.
    if (this.#revision.selected === 0) useLegacy(this.core);
    return true;
  }

  #virtio(name: VirtioCommandName, data: ChannelData): CommandEnd {
    switch (name) {
      case 'SET_VIRTIO_REV':
        return ifTaken(data, virtio_rev_info, ({ revision, length }) =>
          this.#revision.select(revision, length),
        );
      case 'VDEV_RESET':
        this.#reset();
        return 'immediate';
      case 'READ_FEAT':
        return this.#readFeatures(data);
      case 'WRITE_FEAT':
        return ifTaken(data, virtio_feature_desc, ({ index, features }) =>
          this.#writeFeatures(index, features),
        );
      case 'READ_CONF':
        data.write(0, this.#config(data.available(this.core.device.type.config.size)));
        return 'done';
      case 'WRITE_CONF':
        return this.#writeConfig(data);
      case 'READ_STATUS':
        if (data.available(device_status.size) < device_status.size) return 'short';
        data.write(0, device_status.encode({ status: this.core.status }));
        return 'done';
      case 'WRITE_STATUS':
        return ifTaken(data, device_status, ({ status }) => this.#writeStatus(status));
      case 'READ_VQ_CONF':
        return this.#readQueueSize(data);
      case 'SET_VQ':
        if (this.#revision.selected === 0) return this.#legacy?.setQueue(this.core, data) ?? 'reject';
        return ifTaken(data, vq_info_block, (info) => this.#setQueue(info));
      case 'SET_IND':
        return ifTaken(data, indicator_address, ({ address }) => this.#indicators.setClassic(address));
      case 'SET_CONF_IND':
        return ifTaken(data, indicator_address, ({ address }) => this.#indicators.setConfig(address));
      case 'SET_IND_ADAPTER':
        if (!this.#adapterInterrupts) return 'reject';
        return ifTaken(data, virtio_thinint_area, (area) => this.#indicators.setAdapter(area));
    }
  }

  #senseId(): Uint8Array {
    const { id } = this.core.device.type;
    return senseid.encode({ reserved: 0xff, cu_type: virtioControlUnitType, cu_model: id });
  }

  /** @spec 4.3.3.3.1 device: Virtio Transport Options / Virtio over channel I/O / Device Operation / Resetting Devices */
  #reset(): void {
    this.core.reset();
    this.#indicators.reset();
  }

  #readFeatures(data: ChannelData): CommandEnd {
    const { index, features } = virtio_feature_desc.field;
    if (data.available(virtio_feature_desc.size) < virtio_feature_desc.size) return 'short';
    const asked = data.read(index.offset, index.size);
    if (asked === undefined) return 'short';
    const word = this.#offered().word(asked.getUint8(0));
    data.write(features.offset, virtio_feature_desc.encode({ features: word }).subarray(0, features.size));
    return 'done';
  }

  /** Whoever cannot read the status cannot suspend a device. */
  #offered(): FeatureSet {
    const { offered } = this.core;
    return this.#revision.selected === 2 ? offered : offered.without(needsReadStatus);
  }

  #writeFeatures(index: number, features: number): boolean {
    if (index < featureWords) this.core.writeDriverFeatures(index, features);
    else if (features !== 0) {
      const message = `the driver accepted features of word ${index}, where none are offered`;
      this.core.violation('FEATURES_REFUSED', message);
    }
    return true;
  }

  /** The beginning of the configuration, as the driver sees it. */
  #config(length: number): Uint8Array {
    const words = new DataView(new ArrayBuffer(Math.ceil(length / 4) * 4));
    for (let at = 0; at < length; at += 4) words.setUint32(at, this.core.readConfig(at, 4), true);
    return new Uint8Array(words.buffer, 0, length);
  }

  #writeConfig(data: ChannelData): CommandEnd {
    const length = data.available(this.core.device.type.config.size);
    const view = data.read(0, length);
    if (view !== undefined) writeDeviceConfig(this.core, view);
    return 'done';
  }

  /** @spec 4.3.2.3.2 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Communicating Status Information */
  #writeStatus(value: number): boolean {
    if (value === 0) this.#reset();
    return value === 0 || tryStatus(this.core, value);
  }

  #readQueueSize(data: ChannelData): CommandEnd {
    const { index, max_queue_size } = vq_config_block.field;
    if (data.available(vq_config_block.size) < vq_config_block.size) return 'short';
    const asked = data.read(index.offset, index.size);
    if (asked === undefined) return 'short';
    const maxSize = this.core.queue(asked.getUint16(0))?.maxSize ?? 0;
    const shown = this.core.negotiated('RING_PACKED') ? maxSize : largestSplitRing(maxSize);
    const answer = vq_config_block.encode({ max_queue_size: shown });
    data.write(max_queue_size.offset, answer.subarray(max_queue_size.offset));
    return 'done';
  }

  /** @spec 4.3.2.2.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Configuring a Virtqueue */
  #setQueue(info: StructValue<(typeof vq_info_block)['codecs']>): boolean {
    const { index, size } = info;
    const queue = this.core.queue(index);
    if (queue === undefined || queue.maxSize === 0) {
      this.core.violation('QUEUE_SIZE_INVALID', `the driver set up queue ${index}, which does not exist`);
      return false;
    }
    if (size === 0 && info.desc === 0n) {
      letQueueGo(this.core, index, queue);
      return true;
    }
    if (this.core.live && queue.enabled) {
      this.core.violation('STATUS_SEQUENCE', `the driver set up queue ${index} anew while it runs`);
      return false;
    }
    const descriptor = exactAddress(info.desc);
    const driver = exactAddress(info.driver);
    const device = exactAddress(info.device);
    if (size > queue.maxSize || descriptor === undefined || driver === undefined || device === undefined) {
      this.core.violation('QUEUE_SIZE_INVALID', `queue ${index} cannot have size ${size} at these addresses`);
      return false;
    }
    if (size !== largestSplitRing(size) && !this.core.negotiated('RING_PACKED')) {
      this.core.violation('QUEUE_SIZE_INVALID', `queue ${index} is split, and cannot have size ${size}`);
      return false;
    }
    Object.assign(queue, { size, descriptor, driver, device });
    this.core.enableQueue(index);
    return true;
  }
}

/** The size of a split ring is a power of two, whatever the device's maximum; 0 stays 0. */
const largestSplitRing = (most: number): number => (most === 0 ? 0 : 1 << (31 - Math.clz32(most)));

/** Reads what a command carries and does it: rejects what is refused, and a command that carries too little. */
function ifTaken<F extends Fields>(
  data: ChannelData,
  layout: Struct<F>,
  take: (value: StructValue<F>) => boolean,
): CommandEnd {
  const view = data.read(0, layout.size);
  if (view === undefined) return 'short';
  return take(layout.read(view)) ? 'done' : 'reject';
}
