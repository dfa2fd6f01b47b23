import type { Channel } from '../channel/channel.ts';
import type { ChannelHost } from '../channel/channel-host.ts';
import type { ContentHost, DescriptorHost } from '../channel/descriptors.ts';
import { closeAll, hasContents } from '../channel/descriptors.ts';
import { DeviceCore } from '../device/core.ts';
import type { Device } from '../device/device.ts';
import type { QueuePolling } from '../device/polling.ts';
import type { Tracing } from '../device/tracing.ts';
import { asVirtioError, PeerError, UsageError, type VirtioError } from '../errors.ts';
import type { ReservedFeatureName } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import type { DeviceRing } from '../virtqueue/device-ring.ts';
import { BackEndRequests } from './back-end-requests.ts';
import { BackendRings } from './backend-rings.ts';
import { readConfig, writeConfig } from './config-message.ts';
import { DeviceStateTransfer } from './device-state.ts';
import { DirtyLog } from './dirty-log.ts';
import { InflightMemory, inflightSize } from './inflight.ts';
import { LentMemory, mostSlots } from './lent-memory.ts';
import type { LentWindow } from './lent-window.ts';
import { bad, MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type FrontEndMessageName, frontEndMessages, type PayloadOf, type ReplyOf } from './messages.ts';
import {
  limits,
  logAllBit,
  type ProtocolFeatureName,
  protocolFeatureBits,
  protocolFeatureNames,
  protocolFeaturesBit,
  transferDirection,
  transferPhase,
  vringDescriptor,
} from './protocol.ts';
import type { Vring } from './vring.ts';

/** What is said of an error that is none of ours. */
const uncarried = 'a message could not be carried out';

/** The features of rings that make sense where a front end runs them. With IN_ORDER nothing could be tracked. */
const carries: readonly ReservedFeatureName[] = [
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'RING_PACKED',
  'ORDER_PLATFORM',
  'RING_RESET',
];

/** What a back end may offer. Another part of the protocol is not done. */
const doneFeatures: readonly ProtocolFeatureName[] = [
  'MQ',
  'LOG_SHMFD',
  'REPLY_ACK',
  'BACKEND_REQ',
  'CONFIG',
  'INFLIGHT_SHMFD',
  'RESET_DEVICE',
  'INBAND_NOTIFICATIONS',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
  'DEVICE_STATE',
  'SHMEM',
];

/** What a back end uses of its host. */
export type BackEndHost = DescriptorHost & Partial<ChannelHost> & Partial<ContentHost>;

/** What a back end can be given. */
export interface VhostUserBackendOptions {
  /** The device's end of packed virtqueues. Without it VIRTIO_F_RING_PACKED is not offered. */
  readonly packedRing?: DeviceRing | undefined;
  /** The device's shared memory regions, of different ids. Without any, or on a host without `ContentHost`, SHMEM is not offered. */
  readonly windows?: readonly LentWindow[] | undefined;
  /**
   * Offers to be told of rings, and to tell of them, by messages. User-mode Linux takes whatever is offered: all is slower
   * then, and changes of the configuration that come with such a message are lost on it.
   */
  readonly inBand?: boolean | undefined;
  /** Protocol features that are not offered, though they could be. */
  readonly without?: readonly ProtocolFeatureName[] | undefined;
  /** Calls `look` now and then, until the function that it gives is called. Without it no queue can be polled. */
  readonly poll?: ((look: () => void) => () => void) | undefined;
  /** Looks at queues for a while after they ran empty: `pollQueues(pacer)` of `virtio/device`. */
  readonly polling?: QueuePolling | undefined;
  /** Runs a task after the caller's turn; a microtask unless told. */
  readonly defer?: ((task: () => void) => void) | undefined;
  readonly trace?: Tracing | undefined;
  /** Hears of what the driver did wrong, and of what failed. `needsReset` tells what stops the device. */
  readonly onError?: ((error: VirtioError, needsReset: boolean) => void) | undefined;
  /** The connection is over, and the device free for another: of its own accord, or for the reason given. */
  readonly onClosed?: ((error: VirtioError | undefined) => void) | undefined;
}

type Payload<N extends FrontEndMessageName> = PayloadOf<typeof frontEndMessages, N>;
type Answer<N extends FrontEndMessageName> = Partial<ReplyOf<typeof frontEndMessages, N>>;
/** What handles a message. Where it is to be answered, it gives the answer, or `undefined` when it has sent it itself. */
type Handler<N extends FrontEndMessageName> = (
  payload: Payload<N>,
  message: ReceivedMessage,
) => [ReplyOf<typeof frontEndMessages, N>] extends [never]
  ? void | Promise<void>
  : Answer<N> | undefined | Promise<Answer<N>>;
type Handlers = { readonly [N in FrontEndMessageName]?: Handler<N> };

/**
 * A device at the disposal of a front end, over one connection of vhost-user: QEMU's, user-mode Linux's, or our own.
 * When the connection ends, for whatever reason, all that came over it is given back and the device can be given to the
 * next one.
 *
 * @example
 * new VhostUserBackend(blkDevice({ storage }), channel, descriptors, { packedRing });
 */
export class VhostUserBackend {
  readonly core: DeviceCore;
  readonly #host: BackEndHost;
  readonly #options: VhostUserBackendOptions;
  readonly #stream: MessageStream<typeof frontEndMessages>;
  readonly #lent: LentMemory;
  readonly #rings: BackendRings;
  readonly #offered: readonly ProtocolFeatureName[];
  readonly #transfer: DeviceStateTransfer | undefined;
  readonly #windows: readonly LentWindow[];
  #negotiated: ReadonlySet<string> = new Set();
  #status = 0;
  #requests: BackEndRequests | undefined;
  #owesConfigChange = false;

  /**
   * Takes the channel over. A host that cannot make channels has no channel of the back end's own.
   *
   * @throws {UsageError} BAD_STATE when the device is in use; BAD_ARGUMENT for two windows of one id.
   */
  constructor(device: Device, channel: Channel, host: BackEndHost, options: VhostUserBackendOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.#windows = options.windows ?? [];
    if (new Set(this.#windows.map(({ id }) => id)).size < this.#windows.length) {
      throw new UsageError('BAD_ARGUMENT', 'two shared memory regions have the same id');
    }
    this.#lent = new LentMemory(host, (descriptor) => {
      const identity = this.#windows.length > 0 ? host.identify?.(descriptor) : undefined;
      return identity !== undefined && this.#windows.some((window) => window.shows(identity));
    });
    this.core = new DeviceCore(device, {
      memory: this.#lent.memory,
      carries,
      isPartial: true,
      packedRing: options.packedRing,
      defer: options.defer,
      polling: options.polling,
      trace: options.trace,
      interruptQueue: (index) => this.#rings.signalCall(index),
      interruptConfig: () => this.#configChanged(),
      onError: (error, needsReset) => {
        if (needsReset) this.#rings.signalErr();
        options.onError?.(error, needsReset);
      },
    });
    this.#rings = new BackendRings(this.core, this.#lent, host, options.poll, (index, name) => {
      if (this.#negotiated.has('INBAND_NOTIFICATIONS')) this.#requests?.notify(name, index);
    });
    const opensChannels = hasChannels(host) ? host : undefined;
    const hasState = (device.behaviour.save?.() ?? null) !== null;
    this.#transfer =
      hasState && opensChannels !== undefined ? new DeviceStateTransfer(this.core, opensChannels) : undefined;
    // QEMU writes status 0 whenever it stops the queues, be it for a pause: what a device has of its own would be lost.
    const not = new Set<string>([...(options.without ?? []), hasState ? 'STATUS' : 'DEVICE_STATE']);
    if (options.inBand !== true) not.add('INBAND_NOTIFICATIONS');
    if (opensChannels === undefined)
      for (const name of ['BACKEND_REQ', 'DEVICE_STATE', 'SHMEM', 'INBAND_NOTIFICATIONS']) not.add(name);
    if (this.#windows.length === 0 || !hasContents(host)) not.add('SHMEM');
    this.#offered = doneFeatures.filter((name) => !not.has(name));
    this.#stream = new MessageStream(channel, frontEndMessages, 'requests', {
      received: (message) => this.#received(message),
      closed: (error) => this.#ended(error),
    });
  }

  /** True when the connection is over. */
  get closed(): boolean {
    return this.#stream.closed;
  }

  /** Ends the connection and gives everything back. Safe to call twice. */
  close(): void {
    if (this.#stream.closed) return;
    this.#stream.abort();
    this.#ended(undefined);
  }

  readonly #handlers: Handlers = {
    GET_FEATURES: () => ({ u64: this.#offeredBits }),
    SET_FEATURES: ({ u64 }) => {
      const unknown = u64 & ~this.#offeredBits;
      if (unknown !== 0n) throw bad(`SET_FEATURES has bits 0x${unknown.toString(16)}, not offered`);
      const mistake = this.#rings.setFeatures(u64);
      if (mistake !== undefined) throw new Refusal(`the driver ${mistake}`);
    },
    GET_PROTOCOL_FEATURES: () => ({ u64: protocolFeatureBits(this.#offered) }),
    SET_PROTOCOL_FEATURES: ({ u64 }) => {
      const { names, unknown } = protocolFeatureNames(u64 & ~protocolFeatureBits(this.#offered));
      if (names.length > 0 || unknown !== 0n) {
        throw bad(
          `SET_PROTOCOL_FEATURES has ${names.join(', ') || `bits 0x${unknown.toString(16)}`}, not offered`,
        );
      }
      const chosen: ReadonlySet<string> = new Set(protocolFeatureNames(u64).names);
      if (chosen.has('INBAND_NOTIFICATIONS') && !(chosen.has('BACKEND_REQ') && chosen.has('REPLY_ACK'))) {
        throw bad('SET_PROTOCOL_FEATURES has INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK');
      }
      this.#negotiated = chosen;
    },
    SET_OWNER: () => {},
    // Some have taken it for a reset, some for nothing: it is not sent to back ends that know RESET_DEVICE.
    RESET_OWNER: () => {},
    SET_MEM_TABLE: ({ nregions, regions }, message) => {
      // There may be places for more regions than there are.
      if (nregions > regions.length || nregions !== message.descriptors) {
        throw bad(
          `SET_MEM_TABLE of ${nregions} regions has ${regions.length}, and ${message.descriptors} descriptors`,
        );
      }
      const table = regions.slice(0, nregions).map((of, i) => ({ of, descriptor: descriptorOf(message, i) }));
      return finishing(
        () => this.#rings.quietly(() => this.#lent.replace(table)),
        () => closeAll(table.map(({ descriptor }) => descriptor)),
      );
    },
    ADD_MEM_REG: ({ region }, message) => {
      const descriptor = descriptorOf(message);
      return finishing(
        () => this.#lent.add(region, descriptor),
        () => descriptor.close(),
      );
    },
    // A front end may not hear what is asked of it meanwhile: what waits for that must not be waited for.
    REM_MEM_REG: ({ region }) =>
      this.#lent.isUnmapped(region)
        ? this.#lent.remove(region)
        : this.#rings.quietly(() => this.#lent.remove(region)),
    GET_MAX_MEM_SLOTS: () => ({ u64: BigInt(mostSlots) }),
    SET_LOG_BASE: (of, message) => {
      const descriptor = descriptorOf(message);
      return finishing(
        () => {
          this.#rings.setLog(new DirtyLog(this.#host, descriptor, of));
          return {};
        },
        () => descriptor.close(),
      );
    },
    SET_LOG_FD: (_, message) => this.#rings.setLogEvent(descriptorOf(message)),
    SET_VRING_NUM: ({ index, num }) => this.#rings.setSize(index, num),
    SET_VRING_ADDR: (addresses) => this.#rings.setAddresses(addresses),
    SET_VRING_BASE: ({ index, num }) => this.#rings.setBase(index, num),
    GET_VRING_BASE: async ({ index }) => ({ index, num: await this.#rings.stop(index) }),
    SET_VRING_KICK: ({ u64 }, message) => {
      const { index, descriptor } = vringEvent(u64, message);
      this.#rings.setKick(index, descriptor);
      this.#tellConfigChange();
    },
    VRING_KICK: ({ index, num }) => {
      if (num !== 0) throw bad(`VRING_KICK has the number ${num}`);
      this.#rings.kicked(index);
      this.#tellConfigChange();
    },
    SET_VRING_CALL: ({ u64 }, message) => this.#setEvent(u64, message, 'setCall'),
    SET_VRING_ERR: ({ u64 }, message) => this.#setEvent(u64, message, 'setErr'),
    SET_VRING_ENABLE: ({ index, num }) => {
      this.#rings.enable(index, num);
      this.#tellConfigChange();
    },
    GET_QUEUE_NUM: () => ({ u64: BigInt(this.#rings.count) }),
    SET_BACKEND_REQ_FD: (_, message) => {
      this.#lendWindows(undefined);
      this.#requests?.close();
      this.#requests = undefined;
      const channel = this.#channels.openChannel(descriptorOf(message));
      this.#requests = new BackEndRequests(channel, this.#negotiated.has('REPLY_ACK'), (error) => {
        this.#stream.fail(error);
      });
      this.#lendWindows(this.#requests);
      if (this.#negotiated.has('INBAND_NOTIFICATIONS')) this.#rings.signalAllCalls();
    },
    GET_SHMEM_CONFIG: () => {
      const sizes = Array.from({ length: limits.sharedMemoryRegions }, () => 0n);
      for (const { id, length } of this.#windows) sizes[id] = BigInt(length);
      return { nregions: this.#windows.length, memory_sizes: sizes };
    },
    GET_CONFIG: (asked) => {
      const region = readConfig(this.core, asked);
      if (region === undefined) throw new Refusal('GET_CONFIG asks for more than a configuration can have');
      return { ...asked, region };
    },
    SET_CONFIG: (written) => {
      if (!writeConfig(this.core, written)) throw new Refusal('SET_CONFIG writes what is not to be written');
    },
    GET_INFLIGHT_FD: (asked) => {
      this.#lendInflight(asked);
      return undefined;
    },
    SET_INFLIGHT_FD: (of, message) => {
      const descriptor = descriptorOf(message);
      return finishing(
        () => this.#rings.setInflight(new InflightMemory(this.#host, descriptor, of, this.#rings.packed)),
        () => descriptor.close(),
      );
    },
    RESET_DEVICE: () => this.#reset(),
    SET_STATUS: ({ u64 }) => {
      const value = Number(u64 & 0xffn);
      if (value === 0) {
        this.#reset();
        return;
      }
      const { FEATURES_OK } = status;
      const asks = (value & ~this.#status & FEATURES_OK) !== 0;
      this.#status = asks && !this.#rings.settle() ? value & ~FEATURES_OK : value;
    },
    GET_STATUS: () => ({ u64: BigInt(this.#status | (this.core.status & status.DEVICE_NEEDS_RESET)) }),
    SET_DEVICE_STATE_FD: (asked, message) => {
      const { NO_DESCRIPTOR } = vringDescriptor;
      try {
        this.#transferState(asked, message);
        return { u64: NO_DESCRIPTOR };
      } catch (error) {
        this.#options.onError?.(asVirtioError(error, uncarried), false);
        return { u64: NO_DESCRIPTOR | 1n };
      }
    },
    CHECK_DEVICE_STATE: async () => {
      const succeeded = (await this.#transfer?.check()) === true;
      const error = this.#transfer?.error;
      if (!succeeded && error !== undefined) this.#options.onError?.(error, false);
      return { u64: succeeded ? 0n : 1n };
    },
  };

  get #channels(): ChannelHost {
    if (hasChannels(this.#host)) return this.#host;
    throw new UsageError('BAD_STATE', 'this host makes no channels');
  }

  get #offeredBits(): bigint {
    const { offered } = this.core;
    const own =
      (1n << BigInt(protocolFeaturesBit)) | (this.#offers('LOG_SHMFD') ? 1n << BigInt(logAllBit) : 0n);
    return (BigInt(offered.word(1)) << 32n) | BigInt(offered.word(0)) | own;
  }

  #offers(name: ProtocolFeatureName): boolean {
    return this.#offered.includes(name);
  }

  /** Handles a message at once where it can, so that the next one need not wait for a turn. */
  #received(message: ReceivedMessage): void | Promise<void> {
    try {
      const answer = this.#handle(message);
      if (answer instanceof Promise) {
        return answer
          .then((value) => this.#answer(message, value))
          .catch((error) => this.#refuse(message, error));
      }
      this.#answer(message, answer);
    } catch (error) {
      this.#refuse(message, error);
    }
    return undefined;
  }

  #handle(message: ReceivedMessage): unknown {
    // The stream hears the messages of `frontEndMessages` alone.
    const name = message.name as FrontEndMessageName;
    const { requires, payload } = message.form;
    if (requires !== undefined && !this.#negotiated.has(requires)) {
      throw bad(`${name} came without the protocol feature ${requires}`);
    }
    // Each handler takes the payload of its own message.
    const handler = this.#handlers[name] as
      | ((payload: unknown, message: ReceivedMessage) => unknown)
      | undefined;
    if (handler === undefined) throw bad(`${name} is not for this back end`);
    return handler(message.read(payload), message);
  }

  #answer(message: ReceivedMessage, answer: unknown): void {
    if (message.form.reply === undefined) {
      this.#acknowledge(message, true);
    } else if (answer !== undefined) {
      // Each handler gives what answers its own message.
      this.#stream.reply(message.name as FrontEndMessageName, answer as Answer<FrontEndMessageName>);
    }
  }

  /** True when the front end has heard of it. */
  #acknowledge({ name, form, needReply }: ReceivedMessage, succeeded: boolean): boolean {
    if (!succeeded && form.emptyReplyOnFailure === true) {
      this.#stream.replyNothing(name as FrontEndMessageName); // as above
      return true;
    }
    const isWanted = needReply && form.reply === undefined && this.#negotiated.has('REPLY_ACK');
    if (isWanted) this.#stream.acknowledge(name as FrontEndMessageName, succeeded); // as above
    return isWanted;
  }

  /** A front end that is told of a failure may go on. One that broke the protocol, or cannot be told, may not. */
  #refuse(message: ReceivedMessage, error: unknown): void {
    if (this.#stream.closed) return;
    const isTold = this.#acknowledge(message, false);
    const reason = asVirtioError(error, uncarried);
    if (reason instanceof Refusal || (isTold && !(reason instanceof PeerError)))
      this.#options.onError?.(reason, false);
    else this.#stream.fail(reason);
  }

  #setEvent(u64: bigint, message: ReceivedMessage, set: 'setCall' | 'setErr'): void {
    const { index, descriptor } = vringEvent(u64, message);
    let ring: Vring;
    try {
      ring = this.#rings.ring(index);
    } catch (error) {
      descriptor?.close();
      throw error;
    }
    ring[set](descriptor);
  }

  /** Memory in which a back end can keep what is in flight; the front end sends it back, now and after our death. */
  #lendInflight(asked: Payload<'GET_INFLIGHT_FD'>): void {
    const { num_queues, queue_size, padding } = asked;
    const size = inflightSize(asked, this.#rings.packed);
    if (size === 0 || num_queues > this.#rings.count || queue_size > 32_768) {
      throw bad(`what is in flight in ${num_queues} queues of ${queue_size} cannot be kept`);
    }
    const memory = this.#host.createMemory(size);
    const reply = { mmap_size: BigInt(size), mmap_offset: 0n, num_queues, queue_size, padding };
    this.#stream.reply('GET_INFLIGHT_FD', reply, [memory]);
    memory.close();
  }

  /** Begins to move the device's state out or in. @throws {VirtioError} when that cannot be now, or not by this descriptor. */
  #transferState({ direction, phase }: Payload<'SET_DEVICE_STATE_FD'>, message: ReceivedMessage): void {
    const isKnown = direction === transferDirection.SAVE || direction === transferDirection.LOAD;
    if (!isKnown || phase !== transferPhase.STOPPED || !this.#rings.areStopped) {
      throw new Refusal(`a device's state cannot go in direction ${direction} now, in phase ${phase}`);
    }
    const descriptor = descriptorOf(message);
    if (direction === transferDirection.SAVE) this.#transfer?.save(descriptor);
    else {
      this.#rings.forgetStops();
      this.#transfer?.load(descriptor);
    }
  }

  /** Regions one by one are a condition: a front end that exchanges its whole table would wait for what waits for it. */
  #lendWindows(requests: BackEndRequests | undefined): void {
    const negotiated = ['SHMEM', 'CONFIGURE_MEM_SLOTS'].every((name) => this.#negotiated.has(name));
    const front =
      requests !== undefined && negotiated && hasContents(this.#host)
        ? { requests, host: this.#host }
        : undefined;
    for (const window of this.#windows) window.attach(front);
  }

  #reset(): void {
    this.#status = 0;
    for (const window of this.#windows) window.reset();
    this.#rings.reset();
  }

  #configChanged(): void {
    this.#owesConfigChange = true;
    this.#tellConfigChange();
  }

  /** Tells of it once a queue runs: a suspended device says nothing. */
  #tellConfigChange(): void {
    if (!this.#owesConfigChange || this.#rings.areStopped) return;
    this.#owesConfigChange = false;
    // Some front ends take requests, and have a configuration of their own.
    if (this.#negotiated.has('CONFIG')) this.#requests?.configChanged();
  }

  #ended(error: VirtioError | undefined): void {
    // Nothing may come between: whoever touches memory that is given back would take the process along.
    this.#lendWindows(undefined);
    this.core.detach();
    this.#rings.close();
    this.#lent.close();
    this.#transfer?.close();
    this.#requests?.close();
    this.#options.onClosed?.(error);
  }
}

/** A message that is refused, and no more: the protocol has a place for that. */
class Refusal extends PeerError {
  constructor(message: string) {
    super('BAD_REQUEST', `vhost-user: ${message}`);
  }
}

function hasChannels(host: BackEndHost): host is BackEndHost & ChannelHost {
  return host.openChannel !== undefined;
}

/** A descriptor that the form of the message promises; the caller's from here on. */
function descriptorOf(message: ReceivedMessage, index = 0) {
  const descriptor = message.take(index);
  if (descriptor === undefined) throw bad(`${message.name} came without its descriptor`);
  return descriptor;
}

/** Which queue an event is for, and the event; the caller's from here on. */
function vringEvent(u64: bigint, message: ReceivedMessage) {
  const isAbsent = (u64 & vringDescriptor.NO_DESCRIPTOR) !== 0n;
  if (isAbsent !== (message.descriptors === 0)) {
    throw bad(`${message.name} has ${message.descriptors} descriptors, and says otherwise`);
  }
  return { index: Number(u64 & vringDescriptor.INDEX_MASK), descriptor: message.take() };
}

/** Runs a piece of work, now or to its end, and what is due after it however it ends. */
function finishing<T>(work: () => T | Promise<T>, after: () => void): T | Promise<T> {
  let settled: T | Promise<T>;
  try {
    settled = work();
  } catch (error) {
    after();
    throw error;
  }
  if (settled instanceof Promise) return settled.finally(after);
  after();
  return settled;
}
