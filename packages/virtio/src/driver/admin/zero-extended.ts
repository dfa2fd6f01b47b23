/** The first `length` bytes of a result, zero where the device wrote none. */
export function zeroExtended(result: Uint8Array, length: number): DataView<ArrayBuffer> {
  const whole = new Uint8Array(length);
  whole.set(result.subarray(0, length));
  return new DataView(whole.buffer);
}
