/** True for 1, 2, 4 and so on, and for nothing else. */
export const isPowerOfTwo = (value: number): boolean =>
  value >= 1 && 2 ** Math.round(Math.log2(value)) === value;
