/** An outbound association, as frames that are sent through it need it. */
export interface FrameSealing {
  /** The id of its resource object. */
  readonly id: number;
  /** Bytes that a frame of so many gains, with headers as in this one; `undefined` when it cannot be encrypted. */
  gain(frame: Uint8Array, length: number): number | undefined;
}
