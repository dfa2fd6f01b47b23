import { formatJsonLine, type Output } from '../output.ts';

/** What happened, for programs: the keys of a JSON line. */
export type ReportEvent = Readonly<Record<string, unknown>> & { readonly event: string };

const clearLine = '\r\x1b[K';

/**
 * What `virtio run` says of itself, all of it on stderr. For people: one line that changes while something takes
 * time, where stderr is a terminal, else a plain line for each new thing. For programs: JSON lines.
 */
export class Report {
  readonly #output: Output;
  readonly #json: boolean;
  readonly #live: boolean;
  #shown = '';
  #rawTerminal = false;

  constructor(output: Output, json: boolean, stderrIsTerminal: boolean = process.stderr.isTTY === true) {
    this.#output = output;
    this.#json = json;
    this.#live = stderrIsTerminal;
  }

  /** Something is under way; `fraction` is how much of it is done, `detail` changes too often for plain lines. */
  progress(text: string, fraction?: number, detail = ''): void {
    if (this.#json) return;
    if (this.#live) {
      const percent = fraction === undefined ? detail : `${Math.floor(fraction * 100)} %`;
      this.#output.err(`${clearLine}${text} ${percent}`);
      this.#shown = text;
    } else if (text !== this.#shown) {
      this.#output.err(`${text}\n`);
      this.#shown = text;
    }
  }

  /** Nothing is under way any more. */
  done(): void {
    if (this.#live && this.#shown !== '') this.#output.err(clearLine);
    this.#shown = '';
  }

  /** A line for a person at the terminal. */
  say(line: string): void {
    if (!this.#json) this.#output.err(`${line}${this.#rawTerminal ? '\r\n' : '\n'}`);
  }

  /** Something that the user should know, on a line that stays. */
  notice(text: string): void {
    if (this.#json) {
      this.event({ event: 'notice', message: text });
      return;
    }
    this.done();
    const end = this.#rawTerminal ? '\r\n' : '\n';
    this.#output.err(`${this.#rawTerminal ? '\r' : ''}virtio: ${text}${end}`);
  }

  /** Something that a program may want to know; people are told otherwise. */
  event(event: ReportEvent): void {
    if (this.#json) this.#output.err(formatJsonLine(event));
  }

  /** The terminal needs a carriage return of its own for as long as it is raw. */
  set rawTerminal(raw: boolean) {
    this.#rawTerminal = raw;
  }
}
