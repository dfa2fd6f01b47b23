/** The smallest piece that is allocated: single bytes must not cost an array each. */
const pieceLength = 4096;

/** A message, and whether it ends its record. */
export interface ReceivedMessage {
  readonly data: Uint8Array<ArrayBuffer>;
  /** The sender marked the message as the last of a record (MSG_EOR). */
  readonly endOfRecord: boolean;
}

/**
 * What a socket has received and nobody has read: bytes, and in a seqpacket socket where messages end. It holds little
 * more than the bytes themselves, however small the pieces are in which they come.
 */
export class Received {
  readonly #pieces: Uint8Array<ArrayBuffer>[] = [];
  /** Where the next byte to be read is in the first piece, and where the last piece is full up to. */
  #start = 0;
  #end = 0;
  #length = 0;
  /** Bytes of each whole message, and its record flag in the sign: `~length` ends a record. */
  readonly #messages: number[] = [];
  /** The first of them that was not taken. */
  #firstMessage = 0;
  /** Bytes behind the last whole message. */
  #open = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Whole messages that wait. */
  get messages(): number {
    return this.#messages.length - this.#firstMessage;
  }

  /** Adds bytes, and keeps what is given where it need not be copied. */
  add(bytes: Uint8Array<ArrayBuffer>): void {
    this.#length += bytes.length;
    this.#open += bytes.length;
    const last = this.#pieces.at(-1);
    const room = last === undefined ? 0 : last.length - this.#end;
    const fits = bytes.subarray(0, room);
    last?.set(fits, this.#end);
    this.#end += fits.length;
    const rest = bytes.subarray(fits.length);
    if (rest.length === 0) return;
    if (rest.length >= pieceLength) {
      // A view of a longer buffer would keep all of it.
      this.#pieces.push(rest.byteLength === rest.buffer.byteLength ? rest : rest.slice());
    } else {
      const piece = new Uint8Array(pieceLength);
      piece.set(rest);
      this.#pieces.push(piece);
    }
    this.#end = rest.length;
  }

  /** The bytes behind the last whole message are one. */
  endMessage(endOfRecord: boolean): void {
    this.#messages.push(endOfRecord ? ~this.#open : this.#open);
    this.#open = 0;
  }

  /** The next bytes, as many as lie together; `undefined` when there are none. */
  takeBytes(): Uint8Array<ArrayBuffer> | undefined {
    const first = this.#pieces[0];
    if (first === undefined) return undefined;
    const stop = this.#pieces.length === 1 ? this.#end : first.length;
    const bytes = first.subarray(this.#start, stop);
    this.#drop(bytes.length);
    return bytes;
  }

  /** The next whole message; `undefined` when there is none. */
  takeMessage(): ReceivedMessage | undefined {
    const coded = this.#messages[this.#firstMessage];
    if (coded === undefined) return undefined;
    this.#firstMessage++;
    // Taking from the front of a long array one by one moves all of it each time.
    if (this.#firstMessage * 2 >= this.#messages.length) {
      this.#messages.splice(0, this.#firstMessage);
      this.#firstMessage = 0;
    }
    const data = new Uint8Array(coded < 0 ? ~coded : coded);
    for (let at = 0; at < data.length; ) {
      const first = this.#pieces[0] ?? data;
      const run = Math.min(first.length - this.#start, data.length - at);
      data.set(first.subarray(this.#start, this.#start + run), at);
      this.#drop(run);
      at += run;
    }
    return { data, endOfRecord: coded < 0 };
  }

  clear(): void {
    this.#pieces.length = 0;
    this.#messages.length = 0;
    this.#firstMessage = 0;
    this.#start = 0;
    this.#end = 0;
    this.#length = 0;
    this.#open = 0;
  }

  #drop(count: number): void {
    this.#start += count;
    this.#length -= count;
    const last = this.#pieces.length === 1;
    if (this.#start < (last ? this.#end : (this.#pieces[0]?.length ?? 0))) return;
    this.#pieces.shift();
    this.#start = 0;
    if (last) this.#end = 0;
  }
}
