import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { HostError } from 'virtio/errors';
import { failureOf } from '../failures.ts';

/** Certificates of a connection with TLS, in PEM. */
export interface NbdTls {
  /** Whom we trust; the authorities that Node knows unless told. */
  readonly ca?: string | Uint8Array;
  /** Who we are, for servers that ask. */
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** The name that the server's certificate has to have; the host's unless told, or `localhost` at a Unix socket. */
  readonly hostname?: string;
}

/** The names that QEMU and libnbd have for them. */
const files = { ca: 'ca-cert.pem', cert: 'client-cert.pem', key: 'client-key.pem' } as const;

/**
 * Reads `ca-cert.pem`, and `client-cert.pem` with `client-key.pem` where they are there.
 *
 * @throws {HostError} NOT_FOUND when there is nothing of it, IO_ERROR for what cannot be read.
 */
export async function readCertificates(folder: string): Promise<NbdTls> {
  const read = async (name: string): Promise<Buffer | undefined> => {
    const path = join(folder, name);
    try {
      return await readFile(path);
    } catch (cause) {
      const failure = failureOf(path, 'read', cause);
      if (failure.code === 'NOT_FOUND') return undefined;
      throw failure;
    }
  };
  const [ca, cert, key] = await Promise.all([read(files.ca), read(files.cert), read(files.key)]);
  if (ca === undefined && cert === undefined) {
    throw new HostError('NOT_FOUND', `${folder} has neither ${files.ca} nor ${files.cert}`);
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new HostError('NOT_FOUND', `${folder} has only one of ${files.cert} and ${files.key}`);
  }
  return { ...(ca && { ca }), ...(cert && key && { cert, key }) };
}

/** As Node has it. The server is always examined: a server that anybody may be is none to give a disk to. */
export function connectionOptions(tls: NbdTls, host: string | undefined): ConnectionOptions {
  const { hostname = host ?? 'localhost', ca, cert, key } = tls;
  const isAddress = /^[\d.]+$|:/.test(hostname);
  return {
    ...(ca === undefined ? {} : { ca: asPem(ca) }),
    ...(cert === undefined ? {} : { cert: asPem(cert) }),
    ...(key === undefined ? {} : { key: asPem(key) }),
    // A name is told to the server; both are compared with its certificate.
    host: hostname,
    ...(isAddress ? {} : { servername: hostname }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  };
}

const asPem = (pem: string | Uint8Array): string | Buffer =>
  typeof pem === 'string' ? pem : Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength);
