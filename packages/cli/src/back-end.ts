import { HostError, PeerError } from 'virtio/errors';
import { connectUnix } from 'virtio-node/host';
import { CommandError, explain, refused } from './exit-status.ts';

/** Connects to the socket that was typed. @throws {CommandError} where nobody can. */
export function connectTyped(socket: string): ReturnType<typeof connectUnix> {
  try {
    return connectUnix(socket);
  } catch (error) {
    throw refused(error); // What it says names the path.
  }
}

/**
 * What begins a conversation with a back end.
 *
 * @throws {CommandError} that says which socket it was and what to look at, where nobody answers there, or with nonsense.
 */
export async function firstAnswer<T>(socket: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof HostError || error instanceof PeerError)) throw error;
    const { status, message } = explain(error);
    const hint = 'see that a vhost-user back end listens there, which serves no other front end now';
    throw new CommandError(status, `${socket}: ${message}; ${hint}`, { cause: error });
  }
}
