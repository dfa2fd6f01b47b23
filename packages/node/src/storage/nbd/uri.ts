import { UsageError } from 'virtio/errors';
import { defaultPort } from './protocol.ts';

/** Where an export is. */
export interface NbdAddress {
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
  /** The empty name is the server's default. */
  readonly exportName: string;
  /** Nothing of the disk goes over the connection but by TLS. */
  readonly encrypted: boolean;
  /** The name that the server's certificate has to have; the host's unless told. */
  readonly tlsHostname?: string;
  /** A folder with certificates: ours, and those that we trust. */
  readonly tlsCertificates?: string;
  /** Seconds that a connection which broke may take to be made again. */
  readonly reconnectFor?: number;
}

/** Whether something names an export, not a file. */
export const isNbdUri = (location: string): boolean => /^nbds?(\+[a-z]+)?:\/\//i.test(location);

const parameters = ['socket', 'tls-hostname', 'tls-certificates', 'x-reconnect-for'];

/**
 * Reads `nbd://HOST[:PORT][/EXPORT]` and `nbd+unix:///[EXPORT]?socket=PATH`, or `nbds` for TLS. Behind a question mark may
 * stand `tls-hostname`, `tls-certificates` and `x-reconnect-for`, joined by `&`.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is neither.
 */
export function parseNbdUri(uri: string): NbdAddress {
  const bad = (what: string): UsageError =>
    new UsageError(
      'BAD_ARGUMENT',
      `${uri}: ${what}; give nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH, nbds for TLS`,
    );
  let url: URL;
  let exportName: string;
  try {
    url = new URL(uri);
    exportName = decodeURIComponent(url.pathname.replace(/^\//, ''));
  } catch {
    throw bad('is no URI');
  }
  const scheme = /^nbd(s?)(\+unix)?:$/.exec(url.protocol);
  if (scheme === null) throw bad('is no address of an export');
  const encrypted = scheme[1] === 's';
  const [path, tlsHostname, tlsCertificates, seconds] = parameters.map((name) => url.searchParams.get(name));
  for (const name of url.searchParams.keys()) {
    if (!parameters.includes(name)) throw bad(`has an unknown parameter ${name}`);
    if (name.startsWith('tls-') && !encrypted) throw bad(`${name} is for TLS, and the scheme says none`);
  }
  const rest = {
    exportName,
    encrypted,
    ...(tlsHostname ? { tlsHostname } : {}),
    ...(tlsCertificates ? { tlsCertificates } : {}),
    ...(seconds == null ? {} : { reconnectFor: secondsIn(seconds, bad) }),
  };
  if (scheme[2] !== undefined) {
    if (!path || url.host !== '') throw bad('the socket is missing, or has a host');
    return { socket: { path }, ...rest };
  }
  if (url.hostname === '' || path != null) throw bad('is no address of an export');
  if (url.username !== '' || url.password !== '') throw bad('users of NBD cannot be had here');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { socket: { host, port: url.port === '' ? defaultPort : Number(url.port) }, ...rest };
}

function secondsIn(text: string, bad: (what: string) => UsageError): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw bad(`x-reconnect-for=${text} is no number of seconds`);
}
