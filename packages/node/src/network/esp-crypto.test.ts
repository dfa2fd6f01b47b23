import {
  aeadAlgorithm,
  chacha20Poly1305,
  cipherAlgorithm,
  type EspKeys,
  espTransform,
  macAlgorithm,
} from 'virtio/ipsec';
import { describe, expect, it } from 'vitest';
import { nodeEspCrypto } from './esp-crypto.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const none = new Uint8Array(0);

const keysOf = (given: Partial<EspKeys>): EspKeys => ({
  cipher: aeadAlgorithm.GCM,
  cipherKey: none,
  mac: macAlgorithm.NO_MAC,
  macKey: none,
  salt: bytes('01020304'),
  extended: false,
  ...given,
});

const transformOf = (given: Partial<EspKeys>) => {
  const transform = espTransform(keysOf(given), nodeEspCrypto);
  if (transform === undefined) throw new Error('there is no such transform');
  return transform;
};

/** Test vectors for AES-GCM in ESP, of the draft behind RFC 4106: the packet, with its text in the clear and encrypted. */
const vectors = [
  {
    key: '4c80cdefbb5d10da906ac73c3613a634',
    salt: '2e443b68',
    spi: '00004321',
    upper: '87654321',
    lower: '00000000',
    iv: '4956ed7e3b244cfe',
    text: '45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f756470037369700963796265726369747902646b000021000101020201',
    sealed:
      'fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732',
    code: '459018148f6cbe722fd04796562dfdb4',
  },
  {
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c',
    salt: 'cafebabe',
    spi: '0000a5f8',
    upper: undefined,
    lower: '0000000a',
    iv: 'facedbaddecaf888',
    text: '45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001',
    sealed: 'a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77',
    code: '95457b9652037f5318027b5b4cd7a636',
  },
];

describe('algorithms of ESP by Node', () => {
  it.each(vectors)('open what its authors sealed: SPI $spi', (vector) => {
    const { key, salt, spi, upper, lower, iv, text, sealed, code } = vector;
    const transform = transformOf({
      cipherKey: bytes(key),
      salt: bytes(salt),
      extended: upper !== undefined,
    });
    const packet = bytes(spi + lower + iv + sealed + code);
    const sequence = Number.parseInt(`${upper ?? ''}${lower}`, 16);
    expect(transform.open(packet.slice(), sequence + 2 ** 40)).toBe(upper === undefined);
    expect(transform.open(packet, sequence)).toBe(true);
    expect(Buffer.from(packet.subarray(16, -16)).toString('hex')).toBe(text);
  });

  const cases: [string, Partial<EspKeys>][] = [
    ...[16, 24, 32].flatMap((length): [string, Partial<EspKeys>][] => [
      [`AES-GCM-${8 * length}`, { cipher: aeadAlgorithm.GCM, cipherKey: new Uint8Array(length).fill(1) }],
      [`AES-CCM-${8 * length}`, { cipher: aeadAlgorithm.CCM, cipherKey: new Uint8Array(length).fill(2) }],
      [
        `AES-GMAC-${8 * length}`,
        {
          cipher: cipherAlgorithm.NO_CIPHER,
          mac: macAlgorithm.GMAC_AES,
          macKey: new Uint8Array(length).fill(3),
        },
      ],
      [
        `AES-CBC-${8 * length} and HMAC-SHA-256`,
        {
          cipher: cipherAlgorithm.AES_CBC,
          cipherKey: new Uint8Array(length).fill(4),
          mac: macAlgorithm.HMAC_SHA_256,
          macKey: new Uint8Array(32).fill(5),
        },
      ],
      [
        `AES-CTR-${8 * length} and HMAC-SHA1`,
        {
          cipher: cipherAlgorithm.AES_CTR,
          cipherKey: new Uint8Array(length).fill(6),
          mac: macAlgorithm.HMAC_SHA1,
          macKey: new Uint8Array(20).fill(7),
        },
      ],
    ]),
    ['ChaCha20-Poly1305', { cipher: aeadAlgorithm.CHACHA20_POLY1305, cipherKey: new Uint8Array(32).fill(8) }],
    [
      'no cipher and HMAC-SHA-256',
      {
        cipher: cipherAlgorithm.NO_CIPHER,
        mac: macAlgorithm.HMAC_SHA_256,
        macKey: new Uint8Array(32).fill(9),
      },
    ],
  ];

  it.each(cases)('open what they sealed, and nothing else: %s', (_, given) => {
    for (const extended of [false, true]) {
      const one = transformOf({ ...given, extended });
      const other = transformOf({ ...given, extended });
      for (const blocks of [1, 5, 90]) {
        const text = Uint8Array.from({ length: 16 * blocks }, (__, i) => i * 7);
        const packet = new Uint8Array(8 + one.ivLength + text.length + one.icvLength);
        packet.set([1, 2, 3, 4, 0, 0, 0, 9]);
        packet.set(text, 8 + one.ivLength);
        const sequence = extended ? 2 ** 33 + 9 : 9;
        one.seal(packet, sequence);
        const isHidden = given.cipher !== cipherAlgorithm.NO_CIPHER;
        const textOf = (whole: Uint8Array): Uint8Array =>
          whole.slice(8 + one.ivLength, whole.length - one.icvLength);
        expect(Buffer.compare(textOf(packet), text) !== 0).toBe(isHidden);
        for (const at of [0, 7, 8 + one.ivLength, packet.length - 1]) {
          const changed = packet.slice();
          changed[at]! ^= 0x80;
          // The sequence number of the packet is what the caller says it is.
          expect(other.open(changed, at === 7 ? sequence ^ 0x80 : sequence)).toBe(false);
        }
        if (extended) expect(other.open(packet.slice(), 9)).toBe(false);
        expect(other.open(packet, sequence)).toBe(true);
        expect(textOf(packet)).toEqual(text);
      }
    }
  });

  it('agree with those of plain JavaScript', () => {
    const keys = keysOf({ cipher: aeadAlgorithm.CHACHA20_POLY1305, cipherKey: new Uint8Array(32).fill(8) });
    const native = espTransform(keys, nodeEspCrypto);
    const plain = espTransform(keys, { aeads: [chacha20Poly1305] });
    for (let length = 4; length < 1600; length += 52) {
      const packet = Uint8Array.from({ length: 8 + 8 + length + 16 }, (_, i) => (i * i) >> 3);
      const [one, other] = [packet.slice(), packet.slice()];
      native?.seal(one, length);
      plain?.seal(other, length);
      expect(one).toEqual(other);
    }
  });

  it('are none for algorithms that do not go together, and for keys that are not theirs', () => {
    const wrong: Partial<EspKeys>[] = [
      { cipherKey: new Uint8Array(17) },
      { cipherKey: new Uint8Array(16), macKey: new Uint8Array(1) },
      { cipher: 4, cipherKey: new Uint8Array(16) },
      { cipher: cipherAlgorithm.AES_CBC, cipherKey: new Uint8Array(16), mac: macAlgorithm.GMAC_AES },
      { cipher: cipherAlgorithm.AES_CBC, cipherKey: new Uint8Array(16), mac: macAlgorithm.HMAC_SHA1 },
      { cipher: cipherAlgorithm.NO_CIPHER, mac: macAlgorithm.NO_MAC },
    ];
    for (const one of wrong) expect(espTransform(keysOf(one), nodeEspCrypto)).toBeUndefined();
  });
});
