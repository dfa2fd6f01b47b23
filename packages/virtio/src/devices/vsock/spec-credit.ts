/**
 * The buffer space management of one socket (5.10.6.3): how much the peer may still be sent, and what it is told of our
 * own buffer. All counters run modulo 2^32.
 */
export class Credit {
  /** Our receive buffer, in bytes. */
  readonly bufAlloc: number;
  /** Bytes that left our receive buffer. */
  fwdCnt = 0;
  /** Bytes that came into it. */
  #rxCnt = 0;
  /** `fwdCnt` as the peer last heard it. */
  #toldFwdCnt = 0;
  /** Bytes that we sent. */
  #txCnt = 0;
  #peerBufAlloc = 0;
  #peerFwdCnt = 0;

  constructor(bufAlloc: number) {
    this.bufAlloc = bufAlloc;
  }

  /** The peer's receive buffer, in bytes, as it last told. */
  get peerBufAlloc(): number {
    return this.#peerBufAlloc;
  }

  /**
   * Bytes that the peer has room for. A peer that shrinks its buffer under what is on its way, or claims to have
   * forwarded what it was never sent, has none.
   *
   * @spec 5.10.6.3.1 driver: Device Types / Socket Device / Device Operation / Buffer Space Management
   * @spec 5.10.6.3.2 device: Device Types / Socket Device / Device Operation / Buffer Space Management
   */
  get peerFree(): number {
    const onItsWay = (this.#txCnt - this.#peerFwdCnt) >>> 0;
    return Math.max(0, this.#peerBufAlloc - onItsWay);
  }

  /** Bytes of our receive buffer that hold something. */
  get held(): number {
    return (this.#rxCnt - this.fwdCnt) >>> 0;
  }

  /**
   * True when the peer is to hear how much has left our buffer: a quarter of it, or of the peer's own where that is
   * smaller. Linux sends no more at a time than its own buffer holds, however large ours is, and waits without asking.
   */
  get untold(): boolean {
    const unreported = (this.fwdCnt - this.#toldFwdCnt) >>> 0;
    return unreported > 0 && unreported >= Math.min(this.bufAlloc, this.#peerBufAlloc) / 4;
  }

  /** The peer told of its buffer. */
  heard(bufAlloc: number, fwdCnt: number): void {
    this.#peerBufAlloc = bufAlloc;
    this.#peerFwdCnt = fwdCnt;
  }

  sent(bytes: number): void {
    this.#txCnt = (this.#txCnt + bytes) >>> 0;
  }

  /** False for more than the peer was told that there is room for, and nothing is counted then. */
  receive(bytes: number): boolean {
    const known = (this.#rxCnt - this.#toldFwdCnt) >>> 0;
    if (known + bytes > this.bufAlloc) return false;
    this.#rxCnt = (this.#rxCnt + bytes) >>> 0;
    return true;
  }

  forward(bytes: number): void {
    this.fwdCnt = (this.fwdCnt + bytes) >>> 0;
  }

  /** What is told with each packet of the socket. */
  tell(packet: { bufAlloc: number; fwdCnt: number }): void {
    packet.bufAlloc = this.bufAlloc;
    packet.fwdCnt = this.fwdCnt;
    this.#toldFwdCnt = this.fwdCnt;
  }
}
