import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { MessageStream, type ReceivedMessage } from './message-stream.ts';
import { type FrontEndMessageName, frontEndMessages } from './messages.ts';
import { u64, VhostUserConfig, VhostUserHeader, VhostUserInflight, vhost_vring_state } from './payloads.ts';
import { messageFlags, type ProtocolFeatureName, protocolFeatureBits, protocolVersion } from './protocol.ts';

/** What a back end does with a message instead of what is usual. */
export type Handler = (message: ReceivedMessage, backEnd: ScriptedBackEnd) => void;

export interface Script {
  /** VIRTIO_F_VERSION_1 and protocol features unless told. */
  readonly features?: bigint;
  readonly protocol?: readonly ProtocolFeatureName[];
  readonly queues?: bigint;
  readonly config?: Uint8Array;
  readonly on?: { readonly [N in FrontEndMessageName]?: Handler };
}

export const version1 = 1n << 32n;
export const protocolBit = 1n << 30n;

/** A back end that answers and writes down, and serves nothing. */
export class ScriptedBackEnd {
  readonly stream: MessageStream<typeof frontEndMessages>;
  readonly channel: Channel;
  readonly host: InMemoryDescriptors;
  /** The messages that came, with their first numbers. */
  readonly heard: string[] = [];
  readonly payloads = new Map<string, Uint8Array>();
  /** Descriptors of the last message of a name. */
  readonly descriptors = new Map<string, Descriptor[]>();
  status = 0n;
  over: Error | 'quietly' | undefined;
  readonly #script: Script;

  constructor(channel: Channel, host: InMemoryDescriptors, script: Script = {}) {
    this.channel = channel;
    this.host = host;
    this.#script = script;
    this.stream = new MessageStream(channel, frontEndMessages, 'requests', {
      received: (message) => this.#received(message),
      closed: (error) => {
        this.over = error ?? 'quietly';
      },
    });
  }

  /** Sends bytes as they are, behind a header with the given fields. */
  raw(request: number, flags: number, payload: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    const header = VhostUserHeader.encode({ request, flags: flags | protocolVersion, size: payload.length });
    this.channel.send(Uint8Array.from([...header, ...payload]), descriptors);
  }

  replyNumber(message: ReceivedMessage, value: bigint): void {
    this.raw(message.form.id, messageFlags.REPLY, u64.encode({ u64: value }));
  }

  /** The first descriptor of a message that came. */
  descriptor(name: FrontEndMessageName): Descriptor {
    const [first] = this.descriptors.get(name) ?? [];
    if (first === undefined) throw new Error(`no descriptor came with ${name}`);
    return first;
  }

  /** Closes everything that came. */
  drop(): void {
    this.stream.close();
    for (const kept of this.descriptors.values()) for (const descriptor of kept.splice(0)) descriptor.close();
  }

  #received(message: ReceivedMessage): void {
    // The stream knows no other names.
    const name = message.name as FrontEndMessageName;
    this.heard.push(name);
    this.payloads.set(name, message.payload);
    const kept = this.descriptors.get(name) ?? [];
    this.descriptors.set(name, kept);
    for (let index = 0; index < message.descriptors; index++) {
      const descriptor = message.take(index);
      if (descriptor !== undefined) kept.push(descriptor);
    }
    const handler = this.#script.on?.[name];
    if (handler !== undefined) handler(message, this);
    else this.#answer(name, message);
  }

  #answer(name: FrontEndMessageName, message: ReceivedMessage): void {
    const { features = version1 | protocolBit, protocol = [], queues = 2n } = this.#script;
    const { config = new Uint8Array(0) } = this.#script;
    const numbers: { readonly [N in FrontEndMessageName]?: bigint } = {
      GET_FEATURES: features,
      GET_PROTOCOL_FEATURES: protocolFeatureBits(protocol),
      GET_QUEUE_NUM: queues,
      GET_MAX_MEM_SLOTS: 509n,
      GET_STATUS: this.status,
    };
    const number = numbers[name];
    if (number !== undefined) this.replyNumber(message, number);
    else if (name === 'GET_VRING_BASE') {
      this.stream.reply(name, { index: message.read(vhost_vring_state).index, num: 0 });
    } else if (name === 'GET_CONFIG') {
      const { offset, size } = message.read(VhostUserConfig);
      if (offset + size > config.length)
        this.raw(frontEndMessages.GET_CONFIG.id, messageFlags.REPLY, new Uint8Array(0));
      else
        this.stream.reply(name, {
          offset,
          size,
          flags: 0,
          region: [...config.subarray(offset, offset + size)],
        });
    } else if (name === 'GET_INFLIGHT_FD') {
      const memory = this.host.createMemory(4096);
      this.stream.reply(name, { ...message.read(VhostUserInflight), mmap_size: 4096n }, [memory]);
      memory.close();
    } else {
      if (name === 'SET_STATUS') this.status = message.read(u64).u64;
      if (message.needReply) this.stream.acknowledge(name, true);
    }
  }
}

/** A scripted back end, and the channel to it. */
export function scripted(
  script: Script = {},
  host: InMemoryDescriptors = new InMemoryDescriptors(),
): { readonly channel: Channel; readonly backEnd: ScriptedBackEnd; readonly host: InMemoryDescriptors } {
  const [channel, far] = channelPair();
  return { channel, host, backEnd: new ScriptedBackEnd(far, host, script) };
}
