const longest = 4096;

/** Cuts the bytes of the kernel's console into lines; what is longer than 4096 characters is cut off. */
export class KernelLines {
  readonly #sink: (line: string) => void;
  #line = '';

  constructor(sink: (line: string) => void) {
    this.#sink = sink;
  }

  push(bytes: Iterable<number>): void {
    for (const byte of bytes) {
      if (byte === 0x0a) {
        const line = this.#line;
        this.#line = '';
        this.#sink(line);
      } else if (byte !== 0x0d && this.#line.length < longest) {
        this.#line += String.fromCharCode(byte);
      }
    }
  }
}
