import { put32 } from '../link/bytes.ts';
import { aeadAlgorithm, cipherAlgorithm, macAlgorithm } from './algorithms.ts';
import type { AeadKey, CipherKey, EspCrypto, MacKey } from './crypto.ts';
import { equal } from './equal.ts';

/** Bytes of SPI and sequence number. */
export const espHeaderLength = 8;

const tagLength = 16;
/** Bytes of the vector that AEADs and CTR carry in a packet: the sequence number. */
const counterLength = 8;
const blockLength = 16;

/**
 * What is done to a packet of ESP with the keys of one association. The packet begins with its SPI, and has room for all that it
 * carries: sequence number, vector, text, code.
 */
export interface EspTransform {
  /** Bytes of the vector in front of the text, and of the code behind it. */
  readonly ivLength: number;
  readonly icvLength: number;
  /** The text's length is a multiple of this. */
  readonly alignment: number;
  /** Encrypts the text in place, and writes vector and code. The sequence number has all its bits, up to 2^53. */
  seal(packet: Uint8Array, sequence: number): void;
  /** Decrypts the text in place; false when the packet is not authentic. */
  open(packet: Uint8Array, sequence: number): boolean;
}

/** Algorithms and keys of an association, as its resource object names them. */
export interface EspKeys {
  /** One of `cipherAlgorithm`; with NO_MAC one of `aeadAlgorithm`. */
  readonly cipher: number;
  readonly cipherKey: Uint8Array;
  /** One of `macAlgorithm`. */
  readonly mac: number;
  readonly macKey: Uint8Array;
  /** Four bytes, in the order in which the algorithm uses them. */
  readonly salt: Uint8Array;
  /** Sequence numbers have 64 bits, of which a packet carries the lower half. */
  readonly extended: boolean;
}

/** Lengths that a packet of ESP has with some algorithms. */
export type EspLengths = Pick<EspTransform, 'ivLength' | 'icvLength' | 'alignment'>;

/** Bytes of codes of those that ESP has a use for. */
const codeLengths: ReadonlyMap<number, number> = new Map([
  [macAlgorithm.HMAC_SHA1, 12],
  [macAlgorithm.HMAC_SHA_256, 16],
]);

/** The lengths with these algorithms; `undefined` when ESP has no use for them together. */
export function espLengths({ cipher, mac }: Pick<EspKeys, 'cipher' | 'mac'>): EspLengths | undefined {
  const counted = { ivLength: counterLength, icvLength: tagLength, alignment: 4 };
  if (mac === macAlgorithm.NO_MAC) {
    return Object.values<number>(aeadAlgorithm).includes(cipher) && cipher !== aeadAlgorithm.NO_AEAD
      ? counted
      : undefined;
  }
  if (mac === macAlgorithm.GMAC_AES) return cipher === cipherAlgorithm.NO_CIPHER ? counted : undefined;
  const icvLength = codeLengths.get(mac);
  if (icvLength === undefined) return undefined;
  if (cipher === cipherAlgorithm.NO_CIPHER) return { ivLength: 0, icvLength, alignment: 4 };
  if (cipher === cipherAlgorithm.AES_CTR) return { ivLength: counterLength, icvLength, alignment: 4 };
  return cipher === cipherAlgorithm.AES_CBC
    ? { ivLength: blockLength, icvLength, alignment: blockLength }
    : undefined;
}

/** The transform with these keys; `undefined` when the host has lent no such algorithm, or a key has another length. */
export function espTransform(keys: EspKeys, crypto: EspCrypto): EspTransform | undefined {
  const lengths = espLengths(keys);
  if (lengths === undefined) return undefined;
  const { cipher, cipherKey, mac, macKey, salt, extended } = keys;
  if (mac === macAlgorithm.NO_MAC || mac === macAlgorithm.GMAC_AES) {
    const isMac = mac === macAlgorithm.GMAC_AES;
    const bytes = isMac ? macKey : cipherKey;
    const unused = isMac ? cipherKey : macKey;
    const found = one(crypto.aeads, isMac ? aeadAlgorithm.GCM : cipher, bytes);
    if (found === undefined || unused.length > 0) return undefined;
    // RFC 4309: CCM's salt has three bytes.
    const usedSalt = cipher === aeadAlgorithm.CCM && !isMac ? salt.subarray(0, 3) : salt.subarray(0, 4);
    return new AeadTransform(found.key(bytes), usedSalt, extended, isMac);
  }
  const signer = one(crypto.macs, mac, macKey);
  if (signer?.codeLength !== lengths.icvLength) return undefined;
  const code = signer.key(macKey);
  if (cipher === cipherAlgorithm.NO_CIPHER) {
    return cipherKey.length > 0 ? undefined : new SignedTransform(lengths, code, extended);
  }
  const found = one(crypto.ciphers, cipher, cipherKey);
  const { random } = crypto;
  if (found === undefined) return undefined;
  if (cipher === cipherAlgorithm.AES_CTR) {
    return new CtrTransform(lengths, code, extended, found.key(cipherKey), salt);
  }
  return random && new CbcTransform(lengths, code, extended, found.key(cipherKey), random);
}

const one = <T extends { readonly algorithm: number; readonly keyLengths: readonly number[] }>(
  all: readonly T[] | undefined,
  algorithm: number,
  key: Uint8Array,
): T | undefined => all?.find((each) => each.algorithm === algorithm && each.keyLengths.includes(key.length));

const upper = (sequence: number): number => Math.floor(sequence / 0x1_0000_0000);

function putSequence(bytes: Uint8Array, at: number, sequence: number): void {
  put32(bytes, at, upper(sequence));
  put32(bytes, at + 4, sequence >>> 0);
}

/** RFC 4106 (GCM), 4309 (CCM), 7634 (ChaCha20-Poly1305), 4543 (GMAC): the vector is the sequence number, used once. */
class AeadTransform implements EspTransform {
  readonly ivLength = counterLength;
  readonly icvLength = tagLength;
  readonly alignment = 4;
  readonly #key: AeadKey;
  readonly #nonce: Uint8Array;
  readonly #saltLength: number;
  readonly #extended: boolean;
  /** The text is authenticated and not encrypted. */
  readonly #plain: boolean;
  /** SPI and sequence number, with its upper half where there is one. */
  readonly #associated: Uint8Array;

  constructor(key: AeadKey, salt: Uint8Array, extended: boolean, plain: boolean) {
    this.#key = key;
    this.#saltLength = salt.length;
    this.#nonce = new Uint8Array(salt.length + counterLength);
    this.#nonce.set(salt);
    this.#extended = extended;
    this.#plain = plain;
    this.#associated = new Uint8Array(extended ? 12 : espHeaderLength);
  }

  seal(packet: Uint8Array, sequence: number): void {
    putSequence(packet, espHeaderLength, sequence);
    const textEnd = packet.length - tagLength;
    this.#prepare(packet, sequence);
    this.#key.seal(
      this.#nonce,
      this.#authenticated(packet, textEnd),
      this.#text(packet, textEnd),
      packet.subarray(textEnd),
    );
  }

  open(packet: Uint8Array, sequence: number): boolean {
    const textEnd = packet.length - tagLength;
    this.#prepare(packet, sequence);
    return this.#key.open(
      this.#nonce,
      this.#authenticated(packet, textEnd),
      this.#text(packet, textEnd),
      packet.subarray(textEnd),
    );
  }

  #prepare(packet: Uint8Array, sequence: number): void {
    const associated = this.#associated;
    this.#nonce.set(packet.subarray(espHeaderLength, espHeaderLength + counterLength), this.#saltLength);
    associated.set(packet.subarray(0, 4));
    if (this.#extended) putSequence(associated, 4, sequence);
    else put32(associated, 4, sequence >>> 0);
  }

  #text(packet: Uint8Array, end: number): Uint8Array {
    return packet.subarray(this.#plain ? end : espHeaderLength + counterLength, end);
  }

  /** RFC 4543: with a code alone the vector and the text are authenticated as well. */
  #authenticated(packet: Uint8Array, end: number): Uint8Array {
    if (!this.#plain) return this.#associated;
    const all = new Uint8Array(this.#associated.length + end - espHeaderLength);
    all.set(this.#associated);
    all.set(packet.subarray(espHeaderLength, end), this.#associated.length);
    return all;
  }
}

/** A code over all of the packet, once it is encrypted: RFC 2404, 4868; and no encryption: RFC 2410. */
class SignedTransform implements EspTransform {
  readonly ivLength: number;
  readonly icvLength: number;
  readonly alignment: number;
  readonly #code: MacKey;
  readonly #extended: boolean;
  readonly #received: Uint8Array;

  constructor({ ivLength, icvLength, alignment }: EspLengths, code: MacKey, extended: boolean) {
    this.ivLength = ivLength;
    this.icvLength = icvLength;
    this.alignment = alignment;
    this.#code = code;
    this.#extended = extended;
    this.#received = new Uint8Array(icvLength);
  }

  seal(packet: Uint8Array, sequence: number): void {
    const textAt = espHeaderLength + this.ivLength;
    const end = packet.length - this.icvLength;
    this.encrypt(packet.subarray(espHeaderLength, textAt), packet.subarray(textAt, end), sequence);
    this.#sign(packet, sequence);
  }

  open(packet: Uint8Array, sequence: number): boolean {
    const textAt = espHeaderLength + this.ivLength;
    const end = packet.length - this.icvLength;
    this.#received.set(packet.subarray(end));
    this.#sign(packet, sequence);
    if (!equal(this.#received, packet.subarray(end))) return false;
    this.decrypt(packet.subarray(espHeaderLength, textAt), packet.subarray(textAt, end));
    return true;
  }

  /** Fills `iv`, and encrypts `text`. */
  protected encrypt(_iv: Uint8Array, _text: Uint8Array, _sequence: number): void {}

  protected decrypt(_iv: Uint8Array, _text: Uint8Array): void {}

  #sign(packet: Uint8Array, sequence: number): void {
    const end = packet.length - this.icvLength;
    // RFC 4303, 2.2.1: the upper half is signed behind the packet, and not sent.
    if (this.#extended) put32(packet, end, upper(sequence));
    this.#code.sign(packet.subarray(0, this.#extended ? end + 4 : end), packet.subarray(end));
  }
}

/** RFC 3602. */
class CbcTransform extends SignedTransform {
  readonly #key: CipherKey;
  readonly #random: (bytes: Uint8Array) => void;

  constructor(
    lengths: EspLengths,
    code: MacKey,
    extended: boolean,
    key: CipherKey,
    random: (bytes: Uint8Array) => void,
  ) {
    super(lengths, code, extended);
    this.#key = key;
    this.#random = random;
  }

  protected override encrypt(iv: Uint8Array, text: Uint8Array): void {
    this.#random(iv);
    this.#key.encrypt(iv, text);
  }

  protected override decrypt(iv: Uint8Array, text: Uint8Array): void {
    this.#key.decrypt(iv, text);
  }
}

/** RFC 3686: blocks are counted behind salt and vector, from 1. */
class CtrTransform extends SignedTransform {
  readonly #key: CipherKey;
  readonly #counter = new Uint8Array(blockLength);

  constructor(lengths: EspLengths, code: MacKey, extended: boolean, key: CipherKey, salt: Uint8Array) {
    super(lengths, code, extended);
    this.#key = key;
    this.#counter.set(salt.subarray(0, 4));
    this.#counter[blockLength - 1] = 1;
  }

  protected override encrypt(iv: Uint8Array, text: Uint8Array, sequence: number): void {
    putSequence(iv, 0, sequence);
    this.#counter.set(iv, 4);
    this.#key.encrypt(this.#counter, text);
  }

  protected override decrypt(iv: Uint8Array, text: Uint8Array): void {
    this.#counter.set(iv, 4);
    this.#key.decrypt(this.#counter, text);
  }
}
