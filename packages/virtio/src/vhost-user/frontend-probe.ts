import type { Channel } from '../channel/channel.ts';
import { PeerError } from '../errors.ts';
import type { FeatureSet } from '../spec/features.ts';
import {
  type FrontEndHost,
  FrontEndSession,
  mostConfigBytes,
  type SessionOptions,
} from './frontend-session.ts';
import type { ProtocolFeatureName } from './protocol.ts';

/** What a back end says of its device. The protocol does not tell which type of device it is. */
export interface VhostUserProbe {
  readonly features: FeatureSet;
  /** `undefined` where it knows no protocol features. */
  readonly protocolFeatures: readonly ProtocolFeatureName[] | undefined;
  /** Protocol features without a name. */
  readonly unknownProtocolFeatures: bigint;
  /** `undefined` where it does not tell. */
  readonly queues: number | undefined;
  /** How many regions of memory it takes one by one; `undefined` where it takes tables alone. */
  readonly memorySlots: number | undefined;
  /** The device's shared memory regions; none where it does not tell. */
  readonly sharedMemory: readonly { readonly id: number; readonly length: number }[];
  /** All of the configuration that it gives; `undefined` where it keeps none. */
  readonly config: Uint8Array | undefined;
}

/**
 * Looks what is behind a channel, which it takes over and closes. The device is left as it was.
 *
 * @throws {PeerError} BAD_MESSAGE, BAD_RESPONSE, COMMAND_FAILED when the back end does not keep to the protocol.
 * @throws {HostError} DEVICE_GONE when it goes away or does not answer.
 */
export async function probeVhostUser(
  channel: Channel,
  host: FrontEndHost,
  options: SessionOptions = {},
): Promise<VhostUserProbe> {
  const session = await FrontEndSession.open(channel, host, options, {
    configChange() {},
    notified: () => false,
    ended() {},
  });
  try {
    const { offered, offeredProtocol, queues, memorySlots, windows } = session;
    return {
      features: offered,
      protocolFeatures: offeredProtocol?.names,
      unknownProtocolFeatures: offeredProtocol?.unknown ?? 0n,
      queues,
      memorySlots,
      sharedMemory: [...windows.values()].map(({ id, length }) => ({ id, length })),
      config: session.has('CONFIG') ? await wholeConfig(session) : undefined,
    };
  } finally {
    session.close();
  }
}

/** As much as there is: a back end refuses what is longer, and does not tell how long it is. */
async function wholeConfig(session: FrontEndSession): Promise<Uint8Array> {
  let best: Uint8Array = new Uint8Array(0);
  let tooLong = mostConfigBytes + 1;
  while (tooLong - best.length > 1) {
    const length = tooLong > mostConfigBytes ? mostConfigBytes : (best.length + tooLong) >>> 1;
    const found = await configOf(session, length);
    if (found === undefined) tooLong = length;
    else best = found;
  }
  return best;
}

async function configOf(session: FrontEndSession, length: number): Promise<Uint8Array | undefined> {
  try {
    return await session.readConfig(length);
  } catch (error) {
    if (error instanceof PeerError && session.requests.failure === undefined) return undefined;
    throw error;
  }
}
