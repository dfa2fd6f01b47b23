import { setTimeout as delay } from 'node:timers/promises';
import type { Channel } from 'virtio/channel';
import { HostError } from 'virtio/errors';
import { type AnswerLimit, type VhostUserOptions, VhostUserTransport } from 'virtio/vhost-user';
import { connectUnix, NodeDescriptors } from '../host/index.ts';

/** How a program connects to a back end. */
export interface ConnectVhostUserOptions extends Omit<VhostUserOptions, 'limit' | 'reconnect'> {
  /** Milliseconds until an answer that does not come is given up; 10 seconds unless told. */
  readonly timeout?: number;
  /**
   * Milliseconds for which a connection that has ended is made anew, to a back end that was started again; requests that
   * were in flight are carried out then. 0, for which the device is gone at once, unless told.
   */
  readonly reconnectFor?: number;
}

const defaultTimeout = 10_000;
/** Milliseconds between two attempts. */
const pause = 50;

/**
 * Connects to the vhost-user back end at a Unix socket: at its path, or at a descriptor that is connected.
 *
 * @example
 * const disk = await openBlk(await connectVhostUser('/run/disk.sock', { deviceId: 2 }));
 *
 * @throws {HostError} NOT_FOUND, IN_USE or IO_ERROR when nobody is there; DEVICE_GONE when nobody answers.
 * @throws {PeerError} BAD_MESSAGE, BAD_RESPONSE, COMMAND_FAILED when a back end does not keep to the protocol.
 */
export async function connectVhostUser(
  socket: string | number,
  options: ConnectVhostUserOptions,
): Promise<VhostUserTransport> {
  const { timeout = defaultTimeout, reconnectFor = 0, ...own } = options;
  const reconnects = typeof socket === 'string' && reconnectFor > 0;
  return VhostUserTransport.connect(connectUnix(socket), new NodeDescriptors(), {
    ...own,
    limit: answerLimit(timeout),
    reconnect: reconnects ? reconnecting(socket, reconnectFor) : undefined,
  });
}

/** Gives up on an answer after so many milliseconds. */
export function answerLimit(milliseconds: number = defaultTimeout): AnswerLimit {
  return async (answer) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const why = `it did not come within ${milliseconds} ms`;
      timer = setTimeout(() => reject(new HostError('DEVICE_GONE', why)), milliseconds);
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** Connects again as soon as somebody is there, for so many milliseconds after the first attempt. */
function reconnecting(path: string, milliseconds: number): (attempt: number) => Promise<Channel | undefined> {
  let end = 0;
  return async (attempt) => {
    if (attempt === 1) end = performance.now() + milliseconds;
    else await delay(pause);
    for (; performance.now() < end; await delay(pause)) {
      try {
        return connectUnix(path);
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
      }
    }
    return undefined;
  };
}
