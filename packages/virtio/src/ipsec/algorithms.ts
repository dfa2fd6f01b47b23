/** Ciphers, by the numbers that the specification gives them (5.9.3.1); those that ESP has a use for. */
export const cipherAlgorithm = Object.freeze({ NO_CIPHER: 0, AES_CBC: 3, AES_CTR: 4 } as const);

/** Message authentication codes (5.9.3.3); those that ESP has a use for. */
export const macAlgorithm = Object.freeze({
  NO_MAC: 0,
  HMAC_SHA1: 2,
  HMAC_SHA_256: 4,
  GMAC_AES: 41,
} as const);

/** Ciphers that authenticate as well (5.9.3.4). */
export const aeadAlgorithm = Object.freeze({ NO_AEAD: 0, GCM: 1, CCM: 2, CHACHA20_POLY1305: 3 } as const);
