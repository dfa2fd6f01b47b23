/**
 * A key of a cipher that authenticates as well. All at once and in place: whoever sends a frame does not wait.
 */
export interface AeadKey {
  /** Encrypts `text` and writes `tag`, which authenticates it and `associated`. */
  seal(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): void;
  /** Decrypts `text`. False when the tag is another one: what is in `text` is of no use then. */
  open(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean;
}

/** A cipher that authenticates as well, with tags of 16 bytes. */
export interface EspAead {
  /** One of `aeadAlgorithm`. */
  readonly algorithm: number;
  /** Bytes of a key. */
  readonly keyLengths: readonly number[];
  key(bytes: Uint8Array): AeadKey;
}

/** A key of a cipher; `iv` is the vector of CBC, or the first block that CTR counts on from: 16 bytes. In place. */
export interface CipherKey {
  encrypt(iv: Uint8Array, text: Uint8Array): void;
  decrypt(iv: Uint8Array, text: Uint8Array): void;
}

/** A cipher that does not authenticate: it is used with an {@link EspMac} alone. */
export interface EspCipher {
  /** AES_CBC or AES_CTR of `cipherAlgorithm`. */
  readonly algorithm: number;
  readonly keyLengths: readonly number[];
  key(bytes: Uint8Array): CipherKey;
}

/** A key of a message authentication code. */
export interface MacKey {
  /** Writes the code's first bytes, as many as `code` has room for; `code` may lie in what is signed. */
  sign(bytes: Uint8Array, code: Uint8Array): void;
}

export interface EspMac {
  /** HMAC_SHA1 or HMAC_SHA_256 of `macAlgorithm`. */
  readonly algorithm: number;
  readonly keyLengths: readonly number[];
  /** Bytes of the code that a packet carries: the RFC of each says how many. */
  readonly codeLength: number;
  key(bytes: Uint8Array): MacKey;
}

/** The algorithms that a host lends: `nodeEspCrypto` of `virtio-node`, {@link chacha20Poly1305} anywhere. */
export interface EspCrypto {
  readonly aeads?: readonly EspAead[];
  readonly ciphers?: readonly EspCipher[];
  readonly macs?: readonly EspMac[];
  /** Fills bytes so that nobody can tell them beforehand; needed for AES_CBC. */
  readonly random?: (bytes: Uint8Array) => void;
}
