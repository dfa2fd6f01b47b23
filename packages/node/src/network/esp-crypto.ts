import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createHmac,
  getCiphers,
  randomFillSync,
} from 'node:crypto';
import {
  type AeadKey,
  aeadAlgorithm,
  type CipherKey,
  cipherAlgorithm,
  type EspAead,
  type EspCipher,
  type EspCrypto,
  type EspMac,
  macAlgorithm,
} from 'virtio/ipsec';

const tagLength = 16;

/** A cipher that authenticates as well, by the name that OpenSSL has for it. */
class NodeAeadKey implements AeadKey {
  readonly #name: CipherGCMTypes;
  readonly #key: Uint8Array;

  constructor(name: CipherGCMTypes, key: Uint8Array) {
    this.#name = name;
    this.#key = key.slice();
  }

  seal(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
    const cipher = createCipheriv(this.#name, this.#key, nonce, { authTagLength: tagLength });
    // CCM has to know the length beforehand.
    cipher.setAAD(associated, { plaintextLength: text.length });
    text.set(cipher.update(text));
    cipher.final();
    tag.set(cipher.getAuthTag());
  }

  open(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean {
    const decipher = createDecipheriv(this.#name, this.#key, nonce, { authTagLength: tagLength });
    decipher.setAuthTag(tag);
    decipher.setAAD(associated, { plaintextLength: text.length });
    try {
      text.set(decipher.update(text));
      decipher.final();
      return true;
    } catch {
      return false;
    }
  }
}

/** By the bytes of the key. */
type Names = Readonly<Record<number, string>>;

const known = new Set(getCiphers());

/** Those of an algorithm that this build of Node has; `undefined` when it has none. */
const usable = (names: Names): Names | undefined => {
  const found = Object.entries(names).filter(([, name]) => known.has(name));
  return found.length === 0 ? undefined : Object.fromEntries(found);
};

const lengthsOf = (names: Names): number[] => Object.keys(names).map(Number);

function aead(algorithm: number, all: Names): EspAead[] {
  const names = usable(all);
  if (names === undefined) return [];
  return [
    {
      algorithm,
      keyLengths: lengthsOf(names),
      // All are of one interface; its types name but those that are looked up by GCM.
      key: (key) => new NodeAeadKey(names[key.length] as CipherGCMTypes, key),
    },
  ];
}

function cipher(algorithm: number, all: Names): EspCipher[] {
  const names = usable(all);
  if (names === undefined) return [];
  return [
    {
      algorithm,
      keyLengths: lengthsOf(names),
      key(given): CipherKey {
        const key = given.slice();
        const name = names[key.length] ?? '';
        return {
          encrypt(iv, text) {
            text.set(createCipheriv(name, key, iv).setAutoPadding(false).update(text));
          },
          decrypt(iv, text) {
            text.set(createDecipheriv(name, key, iv).setAutoPadding(false).update(text));
          },
        };
      },
    },
  ];
}

function mac(algorithm: number, name: string, keyLength: number, codeLength: number): EspMac {
  return {
    algorithm,
    keyLengths: [keyLength],
    codeLength,
    key(given) {
      const key = given.slice();
      return {
        sign: (bytes, code) =>
          code.set(createHmac(name, key).update(bytes).digest().subarray(0, code.length)),
      };
    },
  };
}

/**
 * The algorithms of ESP by Node's own crypto, as far as it has them: AES-GCM and GMAC, AES-CCM, ChaCha20-Poly1305; AES-CBC and
 * AES-CTR with HMAC-SHA-256-128 or HMAC-SHA1-96.
 *
 * @example
 * administer(netDevice({ flowFilters: flowFilters(), ipsec: ipsec({ crypto: nodeEspCrypto }) }), { groups: [] });
 */
export const nodeEspCrypto: EspCrypto = Object.freeze({
  aeads: [
    ...aead(aeadAlgorithm.GCM, { 16: 'aes-128-gcm', 24: 'aes-192-gcm', 32: 'aes-256-gcm' }),
    ...aead(aeadAlgorithm.CCM, { 16: 'aes-128-ccm', 24: 'aes-192-ccm', 32: 'aes-256-ccm' }),
    ...aead(aeadAlgorithm.CHACHA20_POLY1305, { 32: 'chacha20-poly1305' }),
  ],
  ciphers: [
    ...cipher(cipherAlgorithm.AES_CBC, { 16: 'aes-128-cbc', 24: 'aes-192-cbc', 32: 'aes-256-cbc' }),
    ...cipher(cipherAlgorithm.AES_CTR, { 16: 'aes-128-ctr', 24: 'aes-192-ctr', 32: 'aes-256-ctr' }),
  ],
  macs: [mac(macAlgorithm.HMAC_SHA1, 'sha1', 20, 12), mac(macAlgorithm.HMAC_SHA_256, 'sha256', 32, 16)],
  random: (bytes: Uint8Array) => void randomFillSync(bytes),
});
