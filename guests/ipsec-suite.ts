import { administer } from 'virtio/device';
import {
  driverFeatures,
  flowFilters,
  flowSelector,
  type InboundSecurity,
  ipsec,
  macText,
  type NetDevice,
  netDevice,
  type OpenNet,
  type OutboundSecurity,
  openFlowFilters,
  openIpsec,
  openNet,
} from 'virtio/devices/net';
import { defaultAcceptedFeatures, openAdmin } from 'virtio/driver';
import { aeadAlgorithm, cipherAlgorithm, macAlgorithm } from 'virtio/ipsec';
import { connect } from 'virtio/link';
import { connectPci } from 'virtio/transports/pci';
import { nodeEspCrypto } from 'virtio-node/network';
import { expect } from 'vitest';
import type { ConsoleSession } from './console-session.ts';

/** What a guest has for it beside what others have. */
export const ipsecGuest = {
  programs: ['iproute2'],
  modules: [
    'esp4',
    'xfrm_user',
    'gcm',
    'ccm',
    'seqiv',
    'authenc',
    'authencesn',
    'echainiv',
    'chacha',
    'ecb',
    'cbc',
    'hmac',
    'chacha20poly1305',
    'ctr',
  ],
} as const;

const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`;

/** Bytes that are not those of another number. */
const secret = (length: number, number: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 37 + number * 11) & 0xff);

const ourAddress = Uint8Array.of(10, 9, 0, 1);
const guestAddress = Uint8Array.of(10, 9, 0, 2);
/** The port of ESP in UDP. What goes to the guest does not go that way: it would want a socket that asks for it. */
const udpPort = 4500;

const dotted = (address: Uint8Array): string => address.join('.');

/** Associations to try, with keys of their own for each number: as ours take them, and what Linux calls them. */
const cases = (number: number) => {
  const salt = secret(4, number);
  const keyed = (length: number): Uint8Array => secret(length, number);
  const salted = (length: number, used = 4): string =>
    hex(Buffer.concat([keyed(length), salt.subarray(0, used)]));
  return [
    {
      name: 'AES-GCM, in tunnel mode, with numbers of 64 bits',
      mode: 'tunnel',
      options: { aead: { algorithm: aeadAlgorithm.GCM, key: keyed(16) }, salt, extended: true },
      linux: `aead 'rfc4106(gcm(aes))' ${salted(16)} 128 flag esn`,
    },
    {
      name: 'AES-GCM-256, in transport mode',
      mode: 'transport',
      options: { aead: { algorithm: aeadAlgorithm.GCM, key: keyed(32) }, salt },
      linux: `aead 'rfc4106(gcm(aes))' ${salted(32)} 128`,
    },
    {
      name: 'AES-GMAC',
      mode: 'transport',
      options: { mac: { algorithm: macAlgorithm.GMAC_AES, key: keyed(16) }, salt },
      linux: `aead 'rfc4543(gcm(aes))' ${salted(16)} 128`,
    },
    {
      name: 'AES-CCM',
      mode: 'transport',
      options: { aead: { algorithm: aeadAlgorithm.CCM, key: keyed(16) }, salt },
      linux: `aead 'rfc4309(ccm(aes))' ${salted(16, 3)} 128`,
    },
    {
      name: 'ChaCha20-Poly1305',
      mode: 'tunnel',
      options: { aead: { algorithm: aeadAlgorithm.CHACHA20_POLY1305, key: keyed(32) }, salt },
      linux: `aead 'rfc7539esp(chacha20,poly1305)' ${salted(32)} 128`,
    },
    {
      name: 'AES-CBC and HMAC-SHA-256, with numbers of 64 bits',
      mode: 'tunnel',
      options: {
        cipher: { algorithm: cipherAlgorithm.AES_CBC, key: keyed(16) },
        mac: { algorithm: macAlgorithm.HMAC_SHA_256, key: keyed(32) },
        extended: true,
      },
      linux: `auth-trunc 'hmac(sha256)' ${hex(keyed(32))} 128 enc 'cbc(aes)' ${hex(keyed(16))} flag esn`,
    },
    {
      name: 'AES-CTR and HMAC-SHA1, and in UDP what comes from Linux',
      mode: 'transport',
      options: {
        cipher: { algorithm: cipherAlgorithm.AES_CTR, key: keyed(16) },
        mac: { algorithm: macAlgorithm.HMAC_SHA1, key: keyed(20) },
        salt,
      },
      back: { udp: { source: udpPort, destination: udpPort } },
      linuxBack: ` encap espinudp ${udpPort} ${udpPort} 0.0.0.0`,
      linux: `auth 'hmac(sha1)' ${hex(keyed(20))} enc 'rfc3686(ctr(aes))' ${salted(16)}`,
    },
  ] as const;
};

/** An echo request, in an Ethernet frame. */
function echoRequest(card: OpenNet, to: Uint8Array, number: number, length: number): Uint8Array {
  const frame = Buffer.alloc(14 + 28 + length);
  frame.set(to, 0);
  frame.set(card.mac, 6);
  frame.writeUInt16BE(0x0800, 12);
  frame.set([0x45, 0, 0, 0, 0, number, 0x40, 0, 64, 1, 0, 0, ...ourAddress, ...guestAddress], 14);
  frame.writeUInt16BE(28 + length, 16);
  frame.writeUInt16BE(sumOf(frame.subarray(14, 34)), 24);
  frame.set([8, 0, 0, 0, 1, 2, 0, number], 34);
  frame.fill(number + length, 42);
  frame.writeUInt16BE(sumOf(frame.subarray(34)), 36);
  return frame;
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * What Linux's own IPsec says to ours: it decrypts what our device encrypts, and our device what Linux does. Our device is at the
 * other end of the link of the guest's first one.
 */
export async function talksToLinux(machine: ConsoleSession, device: NetDevice, name: string): Promise<void> {
  const card = await openCard(device);
  const admin = await openAdmin(card.device);
  const associations = await openIpsec(admin);
  const filters = await openFlowFilters(admin);
  const group = await filters.createGroup(1);
  for (const { type, protocol, mask, key } of [
    { type: flowSelector.ESP, protocol: 50, mask: maskOf(8), key: maskOf(8) },
    {
      type: flowSelector.UDP,
      protocol: 17,
      mask: maskOf(8, { 2: 0xff, 3: 0xff }),
      key: maskOf(8, { 2: udpPort >>> 8, 3: udpPort & 0xff }),
    },
  ]) {
    const classifier = await filters.createClassifier([
      { type: flowSelector.ETH, flags: 0, mask: maskOf(14, { 12: 0xff, 13: 0xff }) },
      { type: flowSelector.IPV4, flags: 0, mask: maskOf(20, { 9: 0xff }) },
      { type, flags: 0, mask },
    ]);
    const keys = [maskOf(14, { 12: 8 }), maskOf(20, { 9: protocol }), key];
    await filters.createRule({ group, classifier, priority: protocol, keys, ipsec: 'once' });
  }

  const guestMac = Buffer.from(
    (await machine.text(`cat /sys/class/net/${name}/address`)).replaceAll(':', ''),
    'hex',
  );
  await machine.text(`for m in ${ipsecGuest.modules.join(' ')}; do modprobe $m || exit 1; done`);
  await machine.text(
    `ip addr add ${dotted(guestAddress)}/24 dev ${name}; ${ip} neigh replace ${dotted(ourAddress)} lladdr ${macText(card.mac)} dev ${name} nud permanent`,
  );
  const outwards = cases(1);
  for (const [number, inwards] of cases(2).entries()) {
    const outward = outwards[number];
    if (outward === undefined) throw new Error('there are as many in both directions');
    const { mode, name: what } = outward;
    const [udp, encapsulated] = 'back' in inwards ? [inwards.back, inwards.linuxBack] : [{}, ''];
    const tunnel = mode === 'tunnel' ? { tunnel: { source: ourAddress, destination: guestAddress } } : {};
    const out = await associations.createOutbound({
      mode,
      spi: 1000 + number,
      ...outward.options,
      ...tunnel,
    });
    const back = await associations.createInbound({ mode, spi: 2000 + number, ...inwards.options, ...udp });
    await machine.text(
      [
        wayOf(ourAddress, guestAddress, 'in', 1000 + number, mode, outward.linux),
        wayOf(guestAddress, ourAddress, 'out', 2000 + number, mode, inwards.linux + encapsulated),
      ].join(' && '),
    );
    await echo(card, guestMac, out, back, what);
    await machine.text(`${ip} xfrm policy flush; ${ip} xfrm state flush`);
    await out.destroy();
    await back.destroy();
  }
  await card.close();
}

/** Busybox has one that knows nothing of this. */
const ip = '/usr/sbin/ip';

/** Tells the guest of an association, and that nothing goes that way without it. */
function wayOf(
  from: Uint8Array,
  to: Uint8Array,
  direction: 'in' | 'out',
  spi: number,
  mode: string,
  what: string,
): string {
  const ends = `src ${dotted(from)} dst ${dotted(to)}`;
  return [
    `${ip} xfrm state add ${ends} proto esp spi ${spi} mode ${mode} replay-window 32 ${what}`,
    `${ip} xfrm policy add ${ends} dir ${direction} tmpl ${ends} proto esp mode ${mode}`,
  ].join(' && ');
}

/** Echoes of many lengths come back, encrypted both ways. */
async function echo(
  card: OpenNet,
  to: Uint8Array,
  out: OutboundSecurity,
  back: InboundSecurity,
  what: string,
): Promise<void> {
  for (const length of [0, 1, 2, 3, 56, 1380]) {
    const sent = echoRequest(card, to, length & 0xff, length);
    await card.send(sent, undefined, out);
    for (;;) {
      const heard = await card.receive();
      if (heard === undefined) throw new Error('the card was closed');
      // The guest says other things as well, to others.
      if (heard.security === undefined) continue;
      expect(heard.security, what).toEqual({ failed: false, softExpired: false, association: back.id });
      expect(heard.frame.subarray(42), what).toEqual(Uint8Array.from(sent.subarray(42)));
      expect([heard.frame[34], ...heard.frame.subarray(26, 34)]).toEqual([0, ...guestAddress, ...ourAddress]);
      break;
    }
  }
}

function maskOf(length: number, bits: Readonly<Record<number, number>> = {}): Uint8Array {
  const mask = new Uint8Array(length);
  for (const [at, byte] of Object.entries(bits)) mask[Number(at)] = byte;
  return mask;
}

async function openCard(other: NetDevice): Promise<OpenNet> {
  const lent = { flowFilters: flowFilters(), ipsec: ipsec({ crypto: nodeEspCrypto }) };
  const device = administer(netDevice(lent), { groups: [] });
  connect(device.endpoint, other.endpoint);
  const { transport } = await connectPci(device);
  const reserved = [...defaultAcceptedFeatures, 'ADMIN_VQ'] as const;
  return openNet(transport, { features: [...driverFeatures, 'IPSEC'], reserved });
}
