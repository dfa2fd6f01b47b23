import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Certificates for a test, as X.509 version 3 in DER: an authority, and those whom it vouches for. */
export interface Certificate {
  readonly pem: string;
  readonly key: KeyObject;
  readonly keyPem: string;
  readonly name: Buffer;
}

const der = (tag: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const { length } = body;
  const long = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...(length < 0x80 ? [length] : long)]), body]);
};
const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, ...parts);
const set = (...parts: readonly Buffer[]): Buffer => der(0x31, ...parts);
const oid = (hex: string): Buffer => der(6, Buffer.from(hex, 'hex'));
const yes = der(1, Buffer.from([0xff]));
const bits = (bytes: Buffer, unused = 0): Buffer => der(3, Buffer.from([unused]), bytes);
const time = (year: number): Buffer => der(0x18, Buffer.from(`${year}0101000000Z`));
const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [yes] : []), der(4, value));

const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));
const [commonName, basicConstraints, keyUsage, alternativeNames, keyIdentifier] = [
  '550403',
  '551d13',
  '551d0f',
  '551d11',
  '551d0e',
];
/** keyCertSign; digitalSignature with keyEncipherment, which QEMU wants as well. */
const usages = { authority: bits(Buffer.from([0x04]), 2), other: bits(Buffer.from([0xa0]), 5) };

/** Makes one, vouched for by `issuer`; without one it is an authority that vouches for itself. */
export function makeCertificate(name: string, issuer?: Certificate): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = sequence(set(sequence(oid(commonName), der(0x0c, Buffer.from(name)))));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const extensions = [
    extension(basicConstraints, true, issuer === undefined ? sequence(yes) : sequence()),
    extension(keyUsage, true, issuer === undefined ? usages.authority : usages.other),
    extension(alternativeNames, false, sequence(der(0x82, Buffer.from(name)))),
    extension(keyIdentifier, false, der(4, createHash('sha1').update(spki).digest())),
  ];
  const body = sequence(
    der(0xa0, der(2, Buffer.from([2]))),
    der(2, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    issuer?.name ?? subject,
    sequence(time(2020), time(2099)),
    subject,
    spki,
    der(0xa3, sequence(...extensions)),
  );
  const whole = sequence(body, ecdsaWithSha256, bits(sign('sha256', body, issuer?.key ?? privateKey)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    pem: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
    key: privateKey,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    name: subject,
  };
}

/** Writes what a server and its clients need under the names that QEMU, nbdkit and libnbd have for it. */
export async function writeCertificates(folder: string, server: string): Promise<void> {
  const authority = makeCertificate('authority');
  await writeFile(join(folder, 'ca-cert.pem'), authority.pem);
  for (const [who, name] of [
    ['server', server],
    ['client', 'client'],
  ] as const) {
    const made = makeCertificate(name, authority);
    await writeFile(join(folder, `${who}-cert.pem`), made.pem);
    await writeFile(join(folder, `${who}-key.pem`), made.keyPem);
  }
}
