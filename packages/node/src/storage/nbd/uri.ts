import { UsageError } from 'virtio/errors';
import { defaultPort } from './protocol.ts';

/** Where an export is. */
export interface NbdAddress {
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
  /** The empty name is the server's default. */
  readonly exportName: string;
}

/** Whether something names an export, not a file. */
export const isNbdUri = (location: string): boolean => /^nbds?(\+[a-z]+)?:\/\//i.test(location);

/**
 * Reads `nbd://HOST[:PORT][/EXPORT]` and `nbd+unix:///[EXPORT]?socket=PATH`.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is neither.
 */
export function parseNbdUri(uri: string): NbdAddress {
  const bad = (what: string): UsageError =>
    new UsageError(
      'BAD_ARGUMENT',
      `${uri}: ${what}; give nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH`,
    );
  let url: URL;
  let exportName: string;
  try {
    url = new URL(uri);
    exportName = decodeURIComponent(url.pathname.replace(/^\//, ''));
  } catch {
    throw bad('is no URI');
  }
  if (/^nbds/i.test(url.protocol)) throw bad('connections with TLS cannot be made here');
  const path = url.searchParams.get('socket');
  if (url.protocol === 'nbd+unix:') {
    if (path === null || path === '' || url.host !== '') throw bad('the socket is missing, or has a host');
    return { socket: { path }, exportName };
  }
  if (url.protocol !== 'nbd:' || url.hostname === '' || path !== null)
    throw bad('is no address of an export');
  if (url.username !== '' || url.password !== '') throw bad('NBD knows no users');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { socket: { host, port: url.port === '' ? defaultPort : Number(url.port) }, exportName };
}
