import { describe, expect, it } from 'vitest';
import { administer } from '../../device/admin/administer.ts';
import { type Capability, capability } from '../../device/admin/capabilities.ts';
import { device } from '../../device/device.ts';
import { openAdmin } from '../../driver/admin/index.ts';
import { open } from '../../driver/open.ts';
import { defaultAcceptedFeatures } from '../../driver/options.ts';
import type { VirtioError } from '../../errors.ts';
import { aeadAlgorithm, cipherAlgorithm, macAlgorithm } from '../../ipsec/algorithms.ts';
import { chacha20Poly1305 } from '../../ipsec/chacha20-poly1305.ts';
import { EspInbound, OpeningRoom } from '../../ipsec/inbound.ts';
import { unlimited } from '../../ipsec/lifetime.ts';
import { EspOutbound } from '../../ipsec/outbound.ts';
import { EspPacket } from '../../ipsec/packet.ts';
import { espTransform } from '../../ipsec/transform.ts';
import { put16 } from '../../link/bytes.ts';
import { completeChecksum } from '../../link/finish-checksum.ts';
import { finished } from '../../link/offload.ts';
import { offloadOf, type PacketOptions, packet } from '../../link/packets.fixture.ts';
import { connectPci } from '../../transports/pci/connect.ts';
import { netDevice } from './device.ts';
import { driverFeatures, openNet } from './driver.ts';
import { openFlowFilters } from './driver-flow-filter.ts';
import { openIpsec } from './driver-ipsec.ts';
import { flowFilters } from './flow-filter.ts';
import { type IpsecOptions, ipsec } from './ipsec.ts';
import type { NetOptions } from './options.ts';
import { Far } from './raw-guest.fixture.ts';
import { net } from './spec.ts';
import { flowAction, flowSelector } from './spec-flow-filter.ts';
import {
  type IpsecAssociationValue,
  type IpsecModeCapability,
  ipsecDirection,
  ipsecMode,
  ipsecOption,
  ipsecTunnel4,
  virtio_crypto_ipsec_mode_cap,
} from './spec-ipsec.ts';
import {
  ipsecAssociationCapability,
  ipsecInboundKind,
  ipsecOutboundKind,
  ipsecResourceCapability,
} from './spec-ipsec-kinds.ts';

const crypto = { aeads: [chacha20Poly1305] };
/** Where the frames of `packet` go. */
const mac = Uint8Array.of(2, 0, 0, 0, 0, 2);
const key = Uint8Array.from({ length: 32 }, (_, i) => 7 * i);
const salt = Uint8Array.of(9, 8, 7, 6);
const aead = { algorithm: aeadAlgorithm.CHACHA20_POLY1305, key };
const reserved = [...defaultAcceptedFeatures, 'ADMIN_VQ'] as const;
const tunnel = { source: Uint8Array.of(10, 0, 0, 1), destination: Uint8Array.of(10, 0, 0, 2) };

const deviceOf = (options: Partial<IpsecOptions> = {}, own: NetOptions = {}) =>
  administer(netDevice({ flowFilters: flowFilters(), ipsec: ipsec({ crypto, ...options }), mac, ...own }), {
    groups: [],
  });

async function opened(options: Partial<IpsecOptions> = {}, own: NetOptions = {}) {
  const device = deviceOf(options, own);
  const far = new Far(device.endpoint);
  const errors: VirtioError[] = [];
  const { transport, pciFunction } = await connectPci(device, {
    onError: (error) => void errors.push(error),
  });
  const card = await openNet(transport, { features: [...driverFeatures, 'IPSEC'], reserved });
  const admin = await openAdmin(card.device);
  return { device, far, errors, pciFunction, card, admin };
}

type Opened = Awaited<ReturnType<typeof opened>>;

/** Has all ESP over IPv4 decrypted. */
async function decryptAll({ admin }: Pick<Opened, 'admin'>, how: 'once' | 'again' = 'once') {
  const filters = await openFlowFilters(admin);
  const group = await filters.createGroup(1);
  const typed = { type: flowSelector.ETH, flags: 0, mask: maskOf(14, { 12: 0xff, 13: 0xff }) };
  const v4 = { type: flowSelector.IPV4, flags: 0, mask: maskOf(20, { 9: 0xff }) };
  const esp = { type: flowSelector.ESP, flags: 0, mask: maskOf(8) };
  const classifier = await filters.createClassifier([typed, v4, esp]);
  const keys = [maskOf(14, { 12: 8 }), maskOf(20, { 9: 50 }), maskOf(8)];
  await filters.createRule({ group, classifier, priority: 1, keys, ipsec: how });
  return { filters, group, typed };
}

function maskOf(length: number, bits: Readonly<Record<number, number>> = {}): Uint8Array {
  const mask = new Uint8Array(length);
  for (const [at, byte] of Object.entries(bits)) mask[Number(at)] = byte;
  return mask;
}

/** The other end of an association, by which a test encrypts and decrypts what the device has. */
function peer(spi: number, mode: 'tunnel' | 'transport' = 'tunnel') {
  const transform = espTransform(
    { cipher: 3, cipherKey: key, mac: 0, macKey: new Uint8Array(0), salt, extended: false },
    crypto,
  );
  if (transform === undefined) throw new Error('there is no transform');
  const association = {
    spi,
    mode,
    transform,
    extended: false,
    udp: undefined,
    tunnel: {
      ...tunnel,
      version: 4 as const,
      dscp: 0,
      dontFragment: false,
      hops: 64,
      flowLabel: 0,
    },
    copyDscp: false,
    decrementHops: false,
    copyDontFragment: false,
    ecn: false,
    replayWindow: 64,
    lifetime: unlimited,
  };
  const inbound = new EspInbound(association);
  const outbound = new EspOutbound(association);
  const room = new OpeningRoom(70_000);
  const into = new Uint8Array(70_000);
  return {
    open(frame: Uint8Array): Uint8Array {
      const where = new EspPacket();
      if (!where.read(frame) || where.spi !== spi || !inbound.open(frame, where, room)) {
        throw new Error(`it is not opened: ${inbound.refusal}`);
      }
      inbound.taken();
      return inbound.frame.slice();
    },
    seal: (frame: Uint8Array): Uint8Array => into.slice(0, outbound.seal(frame, into)),
  };
}

const udp: PacketOptions = {
  version: 4,
  protocol: 'udp',
  payload: Uint8Array.from({ length: 99 }, (_, i) => i),
};

/** A frame on which nothing is left to do. */
function whole(options: PacketOptions = udp): Uint8Array {
  const made = packet(options);
  completeChecksum(made.frame, made.transportAt, options.protocol === 'tcp' ? 16 : 6);
  return made.frame;
}

describe('IPsec in a network device', () => {
  // @holds 5.1.9.2.1 driver: Device Types / Network Device / Device Operation / Packet Transmission
  // @holds 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation
  it('encrypts what its driver sends with an association, and nothing else', async () => {
    const given = await opened();
    const { card, far, errors } = given;
    const associations = await openIpsec(given.admin);
    const security = await associations.createOutbound({ mode: 'tunnel', spi: 77, aead, salt, tunnel });
    await card.send(whole());
    await card.send(whole(), finished, security);
    // The device completes the checksum first.
    const made = packet(udp);
    await card.send(made.frame, offloadOf(udp, made), security);
    const other = peer(77);
    expect(far.frames[0]!.frame).toEqual(whole());
    expect(far.frames.slice(1).map(({ frame }) => other.open(frame))).toEqual([whole(), whole()]);
    expect(far.frames.map(({ offload }) => offload.needsChecksum)).toEqual([false, false, false]);
    await security.destroy();
    await card.send(whole(), finished, security);
    expect(far.frames).toHaveLength(3);
    expect(errors.map(String)).toEqual([expect.stringContaining('association that is not there')]);
  });

  it('cuts what is to be cut, and encrypts each piece once, however little room the link has', async () => {
    const given = await opened();
    const { card, far } = given;
    const associations = await openIpsec(given.admin);
    const security = await associations.createOutbound({ mode: 'transport', spi: 78, aead, salt });
    const tcp: PacketOptions = { version: 4, protocol: 'tcp', payload: new Uint8Array(3500).fill(5) };
    const made = packet(tcp);
    far.patience = 0;
    const sent = card.send(made.frame, offloadOf(tcp, made, 1000), security);
    const after = card.send(whole(), finished, security);
    for (let i = 0; i < 20 && far.frames.length < 5; i++) {
      far.makeRoom(1);
      await new Promise((resolve) => setTimeout(resolve));
    }
    await Promise.all([sent, after]);
    const other = peer(78, 'transport');
    const plain = far.frames.map(({ frame }) => other.open(frame));
    expect(plain.map(({ length }) => length)).toEqual([1054, 1054, 1054, 554, 141]);
    expect(plain[0]!.subarray(54)).toEqual(new Uint8Array(1000).fill(5));
    const numbers = far.frames.map(({ frame }) => frame[34 + 7]);
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    expect(given.device.sent[0]).toMatchObject({ packets: 2, malformed: 0 });
  });

  it('lets go of what is not all sent when the link goes down', async () => {
    const given = await opened();
    const { card, far } = given;
    const security = await (await openIpsec(given.admin)).createOutbound({
      mode: 'tunnel',
      spi: 78,
      aead,
      salt,
      tunnel,
    });
    far.patience = 0;
    await card.send(whole(), finished, security);
    far.up = false;
    await new Promise((resolve) => setTimeout(resolve));
    far.up = true;
    far.makeRoom(9);
    const next = whole({ ...udp, id: 5 });
    await card.send(next, finished, security);
    await new Promise((resolve) => setTimeout(resolve));
    expect(far.frames.map(({ frame }) => peer(78).open(frame))).toEqual([next]);
  });

  // @holds 5.1.9.4.1 device: Device Types / Network Device / Device Operation / Processing of Incoming Packets
  it('decrypts what a flow filter hands to it, and says how that went', async () => {
    const given = await opened();
    const { card, far } = given;
    const associations = await openIpsec(given.admin);
    const soft = { packets_soft_limit: 2n };
    const { id } = await associations.createInbound({ mode: 'tunnel', spi: 99, aead, salt, lifetime: soft });
    const other = peer(99);
    const come = async (frame: Uint8Array) => {
      const heard = card.receive();
      expect(far.device.receive(frame, finished)).toBe(true);
      return heard;
    };
    const early = other.seal(whole());
    expect(await come(early)).toEqual({ frame: early, offload: finished });
    await decryptAll(given);
    const right = { failed: false, softExpired: false, association: id };
    expect(await come(other.seal(whole()))).toMatchObject({ frame: whole(), security: right });
    // What is not ESP does not go through it.
    const clear = await come(whole());
    expect([clear?.frame, clear?.security]).toEqual([whole(), undefined]);
    const sealed = other.seal(whole());
    const changed = sealed.slice();
    changed[60]! ^= 1;
    expect(await come(changed)).toMatchObject({ frame: changed, security: { ...right, failed: true } });
    expect(await come(sealed)).toMatchObject({ frame: whole(), security: right });
    const soon = { ...right, softExpired: true };
    expect(await come(sealed)).toMatchObject({ frame: sealed, security: { ...soon, failed: true } });
    expect(await come(other.seal(whole()))).toMatchObject({ frame: whole(), security: soon });
    const unknown = peer(100).seal(whole());
    expect(await come(unknown)).toMatchObject({
      frame: unknown,
      security: { failed: true, softExpired: false, association: undefined },
    });
  });

  it('counts a packet once, however often the link offers it', async () => {
    const given = await opened();
    const { card, far, device } = given;
    const associations = await openIpsec(given.admin);
    await associations.createInbound({ mode: 'tunnel', spi: 99, aead, salt });
    await decryptAll(given);
    const other = peer(99);
    // Nobody receives: the driver's buffers fill up.
    let frame = other.seal(whole());
    while (far.device.receive(frame, finished)) frame = other.seal(whole());
    expect(far.device.receive(frame, finished)).toBe(false);
    const first = await card.receive();
    expect(first?.security).toMatchObject({ failed: false });
    await new Promise((resolve) => setTimeout(resolve));
    expect(far.device.receive(frame, finished)).toBe(true);
    for (let left = Number(device.received[0]!.packets) - 1; left > 0; left--) {
      expect(await card.receive()).toMatchObject({ frame: whole(), security: { failed: false } });
    }
  });

  it('finds the rules for a packet once more when it is told to', async () => {
    const given = await opened();
    const { card, far, device } = given;
    const associations = await openIpsec(given.admin);
    await associations.createInbound({ mode: 'tunnel', spi: 99, aead, salt });
    const { filters, group, typed } = await decryptAll(given, 'again');
    const v4 = { type: flowSelector.IPV4, flags: 0, mask: maskOf(20, { 9: 0xff }) };
    const classifier = await filters.createClassifier([typed, v4]);
    const keys = [maskOf(14, { 12: 8 }), maskOf(20, { 9: 17 })];
    const drop = await filters.createRule({ group, classifier, priority: 1, keys });
    const other = peer(99);
    far.device.receive(other.seal(whole()), finished);
    expect(device.received[0]!.drops).toBe(1);
    await drop.destroy();
    far.device.receive(other.seal(whole()), finished);
    expect((await card.receive())?.frame).toEqual(whole());
    // A tunnel within a tunnel is opened once: what circulates does so no more than that.
    const twice = other.seal(other.seal(whole()));
    far.device.receive(twice, finished);
    expect((await card.receive())?.frame.length).toBeGreaterThan(whole().length);
    await expect(
      filters.createRule({ group, classifier, priority: 1, keys, queue: 0, ipsec: 'once' }),
    ).rejects.toThrow('a queue, or IPsec');
  });

  // @holds 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
  it('needs both capabilities, and shows them', async () => {
    const { admin } = await opened({ outbound: 3, inbound: 2, replayWindow: 128 });
    expect(await admin.capabilities.ids()).toEqual(expect.arrayContaining([0x803, 0x804]));
    const limits = await admin.capabilities.get(ipsecResourceCapability);
    expect(limits).toEqual({ inb_sa_limit: 2, outb_sa_limit: 3 });
    const shown = await admin.capabilities.get(ipsecAssociationCapability, 999);
    expect(shown.cap_mode.map(({ mode }) => mode)).toEqual([ipsecMode.ESP_TUNNEL, ipsecMode.ESP_TRANSPORT]);
    expect(shown.cap_mode[0]).toMatchObject({
      max_replay_win_sz: 128,
      options: 0x7f,
      cipher_algo: 0n,
      hmac_algo: 0n,
      aead_algo: 1 << aeadAlgorithm.CHACHA20_POLY1305,
      max_cipher_key_len: 32,
      max_auth_key_len: 0,
    });
    await admin.capabilities.set(ipsecResourceCapability, limits);
    const refused = { status: 'EINVAL', qualifier: 'INVALID_OPCODE' };
    await expect(admin.createObject(ipsecOutboundKind, { value: value() })).rejects.toMatchObject(refused);
    const wider = shown.cap_mode.map((mode) => ({ ...mode, options: 0xff }));
    await expect(
      admin.capabilities.set(ipsecAssociationCapability, { count: 2, cap_mode: wider }),
    ).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await admin.capabilities.set(ipsecAssociationCapability, shown);
    await admin.createObject(ipsecOutboundKind, { value: value() });
  });

  const tunnelled = {
    type: 4,
    reserved: new Uint8Array(3),
    header: ipsecTunnel4.encode({ src_ip: tunnel.source, dst_ip: tunnel.destination, ttl: 64 }),
  };
  const value = (given: Partial<IpsecAssociationValue> = {}): Partial<IpsecAssociationValue> => ({
    mode: ipsecMode.ESP_TUNNEL,
    direction: ipsecDirection.OUTBOUND,
    spi: 5,
    salt,
    param: tunnelled,
    cipher_algo: 3n,
    cipher_key: { length: 32, reserved1: 0, data: key },
    ...given,
  });

  // @holds 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
  it('refuses associations that cannot be', async () => {
    const { admin } = await opened({ outbound: 2, inbound: 2 });
    await openIpsec(admin);
    const header = (fields: Parameters<typeof ipsecTunnel4.encode>[0]): IpsecAssociationValue['param'] => ({
      ...tunnelled,
      header: ipsecTunnel4.encode({ ttl: 64, ...fields }),
    });
    const bad: Partial<IpsecAssociationValue>[] = [
      { mode: 0 },
      { mode: ipsecMode.AH_TUNNEL },
      { direction: ipsecDirection.INBOUND },
      { spi: 0 },
      { options: 0x80n },
      { options: 1n << 40n },
      { options: BigInt(ipsecOption.UDP_ENCAP), udp_dport: 4500 },
      { param: { ...tunnelled, type: 0 } },
      { param: header({ ttl: 0 }) },
      { param: header({ dscp: 64 }) },
      { cipher_algo: BigInt(aeadAlgorithm.GCM) },
      { cipher_algo: 1n << 32n },
      { auth_algo: BigInt(macAlgorithm.HMAC_SHA_256) },
      { cipher_algo: BigInt(cipherAlgorithm.NO_CIPHER) },
      { cipher_key: { length: 16, reserved1: 0, data: key } },
      { cipher_key: { length: 33, reserved1: 0, data: key } },
      { auth_key: { length: 1, reserved2: 0, data: key } },
    ];
    for (const one of bad) {
      await expect(
        admin.createObject(ipsecOutboundKind, { value: value(one) }),
        JSON.stringify(Object.keys(one)),
      ).rejects.toMatchObject({ status: 'EINVAL' });
    }
    const inward = { direction: ipsecDirection.INBOUND };
    await expect(
      admin.createObject(ipsecInboundKind, { value: value({ ...inward, replay_win_sz: 4097 }) }),
    ).rejects.toMatchObject({ status: 'EINVAL' });
    // What is for packets that are sent is not looked at.
    const made = await admin.createObject(ipsecInboundKind, {
      value: value({ ...inward, param: { ...tunnelled, type: 9 } }),
    });
    await expect(admin.createObject(ipsecInboundKind, { value: value({ ...inward }) })).rejects.toMatchObject(
      { status: 'EINVAL' },
    );
    expect(await made.query()).toMatchObject({ value: { spi: 5 } });
    await made.modify({ value: value({ ...inward, spi: 6 }) });
    await admin.createObject(ipsecInboundKind, { value: value(inward) });
    await made.destroy();
    await admin.createObject(ipsecInboundKind, { value: value({ ...inward, spi: 6 }) });
    await expect(admin.capabilities.set(ipsecAssociationCapability, { count: 0 })).rejects.toMatchObject({
      status: 'EBUSY',
    });
  });

  // @holds 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
  it('refuses ids that are taken, or beyond the limits', async () => {
    const { admin } = await opened({ outbound: 2, inbound: 1 });
    await openIpsec(admin);
    await admin.createObject(ipsecOutboundKind, { value: value() }, 1);
    const create = (kind: typeof ipsecOutboundKind, id: number, one: Partial<IpsecAssociationValue>) => {
      const head = Uint8Array.of(kind.type & 0xff, kind.type >> 8, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      const data = kind.layout.encode(one);
      const all = new Uint8Array(head.length + data.length);
      all.set(head);
      all.set(data, head.length);
      return admin.self.send({ name: 'RESOURCE_OBJ_CREATE', memberId: 0, data: all });
    };
    await expect(create(ipsecOutboundKind, 1, value())).rejects.toMatchObject({ status: 'EEXIST' });
    await expect(create(ipsecOutboundKind, 2, value())).rejects.toMatchObject({ status: 'EINVAL' });
    const inward = value({ direction: ipsecDirection.INBOUND });
    await expect(create(ipsecInboundKind, 1, inward)).rejects.toMatchObject({ status: 'EINVAL' });
    await create(ipsecInboundKind, 0, inward);
    await create(ipsecOutboundKind, 0, value());
  });

  // @holds 5.1.9.7.5 driver: Device Types / Network Device / Device Operation / IPsec Operation
  it('is asked by its driver for what it has, as it is to be', async () => {
    const { admin, card } = await opened();
    const associations = await openIpsec(admin);
    const base = { mode: 'tunnel', spi: 5, aead, salt, tunnel } as const;
    const gcm = { algorithm: aeadAlgorithm.GCM, key: new Uint8Array(16) };
    const { salt: _, ...unsalted } = base;
    const bad = [
      { ...base, spi: 0 },
      { ...base, spi: 2 ** 32 },
      { ...base, mode: 'transport' as const },
      { ...base, aead: gcm },
      { ...base, mac: gcm },
      { ...base, cipher: gcm },
      { ...base, aead: { ...aead, key: new Uint8Array(40) } },
      unsalted,
      { ...base, tunnel: { ...tunnel, source: new Uint8Array(16) } },
      { ...base, tunnel: { ...tunnel, hops: 0 } },
      { ...base, tunnel: { ...tunnel, flowLabel: 2 ** 20 } },
    ];
    for (const one of bad) {
      await expect(associations.createOutbound(one)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    const { tunnel: __, ...inward } = base;
    await expect(associations.createInbound({ ...inward, replayWindow: 5000 })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const made = await associations.createInbound(inward);
    await expect(associations.createInbound(inward)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await made.destroy();
    await associations.createInbound(inward);
    // A frame is no larger than the MTU once it is encrypted.
    const security = await associations.createOutbound(base);
    const fits = whole({ ...udp, payload: new Uint8Array(1500 - 28 - 54) });
    await card.send(fits, finished, security);
    const large = whole({ ...udp, payload: new Uint8Array(1500 - 28 - 50) });
    await expect(card.send(large, finished, security)).rejects.toThrow(
      'larger than the MTU when it is encrypted',
    );
    const other = whole();
    put16(other, 12, 0x88b5);
    await expect(card.send(other, finished, security)).rejects.toThrow(
      'nothing that its association can encrypt',
    );
  });

  // @holds 5.1.9.7.4 device: Device Types / Network Device / Device Operation / IPsec Operation
  it('has no association left after a reset', async () => {
    const given = await opened();
    const associations = await openIpsec(given.admin);
    await associations.createInbound({ mode: 'tunnel', spi: 5, aead, salt });
    await associations.createOutbound({ mode: 'tunnel', spi: 5, aead, salt, tunnel });
    expect(given.device.behaviour.save?.()).toMatchObject({ ipsec: [{}, {}] });
    await given.card.close();
    expect(given.device.behaviour.save?.()).toMatchObject({ ipsec: [] });
  });

  it('goes on behind a restore with the numbers that are next', async () => {
    const given = await opened();
    const { card, far, admin } = given;
    const associations = await openIpsec(admin);
    await associations.createInbound({ mode: 'tunnel', spi: 99, aead, salt });
    const security = await associations.createOutbound({ mode: 'tunnel', spi: 77, aead, salt, tunnel });
    await card.send(whole(), finished, security);
    await card.send(whole(), finished, security);
    const saved = given.device.behaviour.save?.() ?? null;
    expect(saved).toMatchObject({ ipsec: [{ outbound: [2, 2, 254] }, { inbound: [0, 0, 0] }] });
    expect(far.frames.map(({ frame }) => frame[34 + 7])).toEqual([1, 2]);
    // A modified association with the same key goes on too; one with another key begins anew.
    const [object] = [await admin.createObject(ipsecOutboundKind, { value: value({ spi: 1 }) }, 5)];
    await card.send(whole(), finished, { id: 5, gain: () => 0 });
    await object.modify({ value: value({ spi: 2 }) });
    await card.send(whole(), finished, { id: 5, gain: () => 0 });
    await object.modify({ value: value({ spi: 2, salt: Uint8Array.of(1, 1, 1, 1) }) });
    await card.send(whole(), finished, { id: 5, gain: () => 0 });
    expect(far.frames.slice(2).map(({ frame }) => [frame[34 + 3], frame[34 + 7]])).toEqual([
      [1, 1],
      [2, 2],
      [2, 1],
    ]);
  });

  it('goes on in another device that is given what it was, and takes nothing twice', async () => {
    const first = await opened();
    const create = async ({ admin }: Pick<Opened, 'admin'>) => {
      const associations = await openIpsec(admin);
      await associations.createInbound({ mode: 'tunnel', spi: 99, aead, salt });
      return associations.createOutbound({ mode: 'tunnel', spi: 77, aead, salt, tunnel });
    };
    await first.card.send(whole(), finished, await create(first));
    await decryptAll(first);
    const came = peer(99).seal(whole());
    const heard = first.card.receive();
    first.far.device.receive(came, finished);
    expect((await heard)?.security).toMatchObject({ failed: false });
    const saved = first.device.behaviour.save?.() ?? null;

    const second = await opened();
    second.device.behaviour.restore?.(saved);
    await second.card.send(whole(), finished, await create(second));
    await decryptAll(second);
    expect(second.far.frames.map(({ frame }) => frame[34 + 7])).toEqual([2]);
    const again = second.card.receive();
    second.far.device.receive(came, finished);
    expect(await again).toMatchObject({ frame: came, security: { failed: true } });
    // Associations that are there already go on as well.
    const third = await opened();
    const security = await create(third);
    third.device.behaviour.restore?.(saved);
    await third.card.send(whole(), finished, security);
    expect(third.far.frames.map(({ frame }) => frame[34 + 7])).toEqual([2]);
    for (const bad of [{ ipsec: 1 }, { ipsec: [{ key: 1 }] }, { ipsec: [{ key: 'a', inbound: [-1] }] }]) {
      expect(() => third.device.behaviour.restore?.(bad)).toThrow(
        expect.objectContaining({ code: 'BAD_STATE' }),
      );
    }
  });

  it('is not opened by a driver where the device shows modes that are none, or nothing', async () => {
    const { ESP_TUNNEL, AH_TUNNEL } = ipsecMode;
    const mode = (number: number): IpsecModeCapability => ({
      ...virtio_crypto_ipsec_mode_cap.read(new DataView(new ArrayBuffer(virtio_crypto_ipsec_mode_cap.size))),
      mode: number,
    });
    const openOf = async (capabilities: readonly Capability[]) => {
      const made = administer(device(net, { resources: { capabilities, objects: [] } }), { groups: [] });
      const { transport } = await connectPci(made);
      return openIpsec(await openAdmin(await open(transport, net, { features: [], reserved })));
    };
    const limits = capability(ipsecResourceCapability, {});
    const shows = (count: number, modes: readonly number[]): Capability =>
      capability(ipsecAssociationCapability, { count, cap_mode: modes.map(mode) });
    for (const wrong of [shows(2, [ESP_TUNNEL]), shows(2, [ESP_TUNNEL, ESP_TUNNEL])]) {
      await expect(openOf([limits, wrong])).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    }
    await expect(openOf([limits])).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    // Modes that it does not know it leaves alone.
    const found = await openOf([limits, shows(3, [ESP_TUNNEL, AH_TUNNEL, 9])]);
    expect(found.modes.map((one) => one.mode)).toEqual([ESP_TUNNEL]);
    await expect(found.createInbound({ mode: 'transport', spi: 1, aead, salt })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });

  it('is offered where it is lent alone, and with flow filters', () => {
    const lend = ipsec({ crypto });
    expect(netDevice({ flowFilters: flowFilters() }).behaviour.offers).not.toContain('IPSEC');
    const { offers } = netDevice({ flowFilters: flowFilters(), ipsec: lend }).behaviour;
    expect(offers).toEqual(expect.arrayContaining(['IPSEC', 'OUT_NET_HEADER']));
    expect(() => netDevice({ ipsec: lend })).toThrow('needs flow filters');
    expect(() => ipsec({ crypto: {} })).toThrow('needs an AEAD');
    expect(() => ipsec({ crypto, replayWindow: -1 })).toThrow('replayWindow');
  });

  it('is not there for a driver that did not negotiate it', async () => {
    const device = deviceOf();
    const far = new Far(device.endpoint);
    const { transport } = await connectPci(device);
    const card = await openNet(transport, { reserved });
    const admin = await openAdmin(card.device);
    const filters = await openFlowFilters(admin);
    expect(filters.actions).toContain(flowAction.IPSEC);
    const security = await (await openIpsec(admin)).createOutbound({
      mode: 'tunnel',
      spi: 77,
      aead,
      salt,
      tunnel,
    });
    await expect(card.send(whole(), finished, security)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    await decryptAll({ admin });
    const sealed = peer(99).seal(whole());
    const heard = card.receive();
    far.device.receive(sealed, finished);
    expect(await heard).toEqual({ frame: sealed, offload: finished });
  });
});
