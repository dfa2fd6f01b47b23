/** Where both ends find the virtqueue in the memory that they share. Addresses and lengths in bytes. */
export const memoryLength = 2 ** 20;

export const ringPlaces = { size: 64, descriptor: 0x1000, driver: 0x2000, device: 0x3000 } as const;

export const ringOptions = {
  packed: false,
  eventIdx: false,
  indirect: false,
  inOrder: false,
  endian: 'little',
} as const;
