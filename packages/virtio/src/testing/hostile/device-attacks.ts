import type { NotificationListener, Transport } from '../../driver/transport.ts';
import { HostError } from '../../errors.ts';
import { FeatureSet, reservedFeatures } from '../../spec/features.ts';
import { status } from '../../spec/status.ts';
import type { Configuration } from '../matrix.ts';
import { modernOnly } from '../matrix.ts';
import { TransportProxy } from '../transport-proxy.ts';
import type { DeviceAttack } from './device-attack.ts';
import { type RingAnswer, SpoiltRing } from './spoilt-ring.ts';

const splitOnly = ({ packed }: Configuration): string | undefined =>
  packed ? 'a packed ring has no used index' : undefined;

const answering =
  (answer: RingAnswer) =>
  (inner: Transport, configuration: Configuration): Transport =>
    new SpoiltRing(inner, configuration, answer);

/** What a device can write into its rings. */
export const ringAttacks: readonly DeviceAttack[] = [
  {
    name: 'a used length longer than the buffer',
    skip: modernOnly('a legacy driver ignores used lengths'),
    expects: ['USED_LENGTH_INVALID'],
    spoil: answering((ring) => ring.use(ring.id, 0xffff_ffff)),
  },
  {
    name: 'a used length a little longer than any buffer',
    skip: modernOnly('a legacy driver ignores used lengths'),
    expects: ['USED_LENGTH_INVALID'],
    spoil: answering((ring) => ring.use(ring.id, 2 ** 20)),
  },
  {
    name: 'an id behind the end of the ring',
    expects: ['USED_ID_INVALID', 'PACKED_USED_ID_INVALID'],
    spoil: answering((ring) => ring.use(ring.size, 0)),
  },
  {
    name: 'the largest id there is',
    expects: ['USED_ID_INVALID', 'PACKED_USED_ID_INVALID'],
    spoil: answering((ring) => ring.use(0xffff, 0)),
  },
  {
    name: 'an id that is not in flight',
    expects: ['USED_ID_INVALID', 'PACKED_USED_ID_INVALID'],
    spoil: answering((ring) => ring.use((ring.id + (ring.size >>> 1)) % ring.size, 0)),
  },
  {
    name: 'an id twice',
    expects: ['USED_ID_INVALID', 'PACKED_USED_ID_INVALID', 'USED_INDEX_JUMP', 'BAD_RESPONSE'],
    skip: splitOnly,
    spoil: answering((ring) => {
      ring.use(ring.id, 0);
      ring.use(ring.id, 0);
    }),
  },
  {
    name: 'a used index that jumps behind what is in flight',
    expects: ['USED_INDEX_JUMP'],
    skip: splitOnly,
    spoil: answering((ring) => ring.jump(ring.size + 1)),
  },
  {
    name: 'a used index that goes back',
    expects: ['USED_INDEX_JUMP'],
    skip: splitOnly,
    spoil: answering((ring) => ring.jump(-1)),
  },
  {
    name: 'nothing in a buffer that is used',
    // Whether no byte is an answer is for the device type to say.
    expects: ['survives'],
    spoil: answering((ring) => ring.use(ring.id, 0)),
  },
];

/** What a device can do to the registers. */
export const registerAttacks: readonly DeviceAttack[] = [
  {
    name: 'FEATURES_OK is refused',
    skip: modernOnly('the legacy interface has no FEATURES_OK'),
    expects: ['FEATURES_NOT_ACCEPTED'],
    spoil: (inner) => new Status(inner, (value) => value & ~status.FEATURES_OK),
  },
  {
    name: 'a status that never reads as 0',
    expects: ['RESET_INCOMPLETE'],
    spoil: (inner) => new Status(inner, (value) => value | status.ACKNOWLEDGE),
  },
  {
    name: 'a status of all ones',
    expects: ['RESET_INCOMPLETE', 'DEVICE_GONE'],
    spoil: (inner) => new Status(inner, () => 0xff),
  },
  {
    name: 'a generation that never settles',
    skip: modernOnly('the legacy interface has no generation'),
    expects: ['GENERATION_UNSTABLE', 'works'],
    spoil: (inner) => new Restless(inner),
  },
  {
    name: 'no queue at all',
    expects: ['QUEUE_MISSING'],
    spoil: (inner) => new QueueSizes(inner, 0),
  },
  {
    name: 'queues larger than queues can be',
    expects: ['works', 'LAYOUT_INVALID'],
    spoil: (inner) => new QueueSizes(inner, 65_535, true),
  },
  {
    name: 'no VERSION_1',
    skip: modernOnly('the legacy interface has no VERSION_1'),
    expects: ['OFFER_INVALID'],
    spoil: (inner) =>
      new Offers(inner, (offered) => offered.without(FeatureSet.of([reservedFeatures.VERSION_1]))),
  },
  {
    name: 'every feature bit there is',
    skip: modernOnly('a legacy device cannot refuse features'),
    // What it knows it accepts, and the sound device behind refuses what it never offered.
    expects: ['FEATURES_NOT_ACCEPTED', 'OFFER_INVALID', 'works'],
    spoil: (inner) => new Offers(inner, () => FeatureSet.fromWords([~0, ~0, ~0, ~0])),
  },
  {
    name: 'DEVICE_NEEDS_RESET in mid-flight',
    expects: ['DEVICE_NEEDS_RESET'],
    spoil: (inner) => new NeedsReset(inner),
  },
  {
    name: 'notifications of everything, all the time',
    expects: ['works'],
    spoil: (inner) => new Noisy(inner),
  },
  ...[1, 2, 3, 5, 8, 13, 21, 34].map(
    (calls): DeviceAttack => ({
      name: `a device that is gone after ${calls} accesses`,
      // A driver may be done by then, or notice when its program calls it the next time.
      expects: ['DEVICE_GONE', 'BAD_STATE', 'works'],
      spoil: (inner) => new GoneAfter(inner, calls),
    }),
  ),
];

/** Everything that a hostile device does. */
export const deviceAttacks: readonly DeviceAttack[] = [...ringAttacks, ...registerAttacks];

class Status extends TransportProxy {
  readonly #shown: (value: number) => number;

  constructor(inner: Transport, shown: (value: number) => number) {
    super(inner);
    this.#shown = shown;
  }

  override async readStatus(): Promise<number> {
    return this.#shown(await super.readStatus());
  }
}

class Restless extends TransportProxy {
  #generation = 0;

  override async configGeneration(): Promise<number> {
    return this.#generation++ & 0xff;
  }
}

class QueueSizes extends TransportProxy {
  readonly #size: number;
  readonly #boast: boolean;

  /** `boast`: the queues work all the same, as far as they really go. */
  constructor(inner: Transport, size: number, boast = false) {
    super(inner);
    this.#size = size;
    this.#boast = boast;
  }

  override async queueMaxSize(index: number): Promise<number> {
    const real = await super.queueMaxSize(index);
    return this.#boast && real === 0 ? 0 : this.#size;
  }
}

class Offers extends TransportProxy {
  readonly #shown: (offered: FeatureSet) => FeatureSet;

  constructor(inner: Transport, shown: (offered: FeatureSet) => FeatureSet) {
    super(inner);
    this.#shown = shown;
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    return this.#shown(await super.readDeviceFeatures());
  }
}

/** Swallows the kicks, and says at the first that it needs a reset. */
class NeedsReset extends TransportProxy {
  #broken = false;
  #listener: NotificationListener | undefined;

  override listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
    super.listen(listener);
  }

  override kick(): void {
    this.#broken = true;
    void Promise.resolve().then(() => this.#listener?.configChange());
  }

  override async readStatus(): Promise<number> {
    const value = await super.readStatus();
    return this.#broken && value !== 0 ? value | status.DEVICE_NEEDS_RESET : value;
  }
}

class Noisy extends TransportProxy {
  #listener: NotificationListener | undefined;

  override listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
    super.listen(listener);
  }

  override kick(index: number, data: number | undefined): void {
    for (const queue of [undefined, index, 4711]) this.#listener?.usedBuffer(queue);
    super.kick(index, data);
    for (const queue of [undefined, index, 4711]) this.#listener?.usedBuffer(queue);
    this.#listener?.configChange();
  }
}

/** Answers so many accesses, and from then on none. */
class GoneAfter extends TransportProxy {
  #left: number;
  #listener: NotificationListener | undefined;

  constructor(inner: Transport, calls: number) {
    super(inner);
    this.#left = calls;
  }

  override listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
    super.listen(listener);
  }

  override async readStatus(): Promise<number> {
    this.#count();
    return super.readStatus();
  }

  override async writeStatus(value: number): Promise<void> {
    this.#count();
    return super.writeStatus(value);
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    this.#count();
    return super.readDeviceFeatures();
  }

  override async writeDriverFeatures(features: FeatureSet): Promise<void> {
    this.#count();
    return super.writeDriverFeatures(features);
  }

  override async readConfig(offset: number, length: number): Promise<Uint8Array> {
    this.#count();
    return super.readConfig(offset, length);
  }

  override async queueMaxSize(index: number): Promise<number> {
    this.#count();
    return super.queueMaxSize(index);
  }

  override async enableQueue(...queue: Parameters<Transport['enableQueue']>): Promise<void> {
    this.#count();
    return super.enableQueue(...queue);
  }

  override kick(index: number, data: number | undefined): void {
    if (this.#left-- > 0) super.kick(index, data);
    else this.#listener?.gone?.(gone());
  }

  override async close(): Promise<void> {
    this.#count();
    return super.close();
  }

  #count(): void {
    if (this.#left-- <= 0) throw gone();
  }
}

const gone = (): HostError => new HostError('DEVICE_GONE', 'the device does not answer any more');
