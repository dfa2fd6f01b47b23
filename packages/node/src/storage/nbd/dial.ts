import { HostError } from 'virtio/errors';
import { Connection } from './connection.ts';
import { type Export, shakeHands } from './handshake.ts';
import { Requests } from './requests.ts';
import type { NbdTls } from './tls.ts';
import type { NbdAddress } from './uri.ts';

/** Whom to reach, and how. */
export interface Destination {
  /** What errors call the server. */
  readonly uri: string;
  readonly address: NbdAddress;
  /** With it nothing goes in the clear. */
  readonly tls: NbdTls | undefined;
  /** Milliseconds that the server has until requests can be sent. */
  readonly patience: number;
  /** Ends the attempt, and what came of it. */
  readonly stop?: AbortSignal;
}

/** A connection that takes requests. */
export interface Link {
  readonly connection: Connection;
  readonly requests: Requests;
  readonly found: Export;
}

/**
 * Connects, and goes as far as to where requests can be sent.
 *
 * @param onEnd told why the link is no more, behind the requests that were under way.
 * @throws {HostError} NOT_FOUND when nobody listens or there is no such export, BAD_IMAGE for one of less than a sector,
 * else IO_ERROR.
 */
export async function dial(
  { uri, address, tls, patience, stop }: Destination,
  onEnd: (link: Link) => void = () => {},
): Promise<Link> {
  let link: Link | undefined;
  const ended = (error: HostError): void => {
    link?.requests.end(error);
    if (link !== undefined) onEnd(link);
  };
  const connection = await Connection.open(uri, address.socket, patience, ended, stop);
  const late = new HostError('IO_ERROR', `${uri}: the server does not answer`);
  const timer = setTimeout(() => connection.fail(late), patience);
  try {
    const found = await shakeHands(connection, address.exportName, tls);
    const requests = new Requests(connection, found.structured);
    link = { connection, requests, found };
    // It ends with the connection, and what it hears then reaches the requests.
    void requests.listen();
    return link;
  } catch (error) {
    connection.fail(error instanceof HostError ? error : late);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
