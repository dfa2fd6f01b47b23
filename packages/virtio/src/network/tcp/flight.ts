/** What was sent together, or was until something became of a part of it. */
export interface Sent {
  /** Its first position, and the one behind its last. */
  start: number;
  end: number;
  /** When it was sent last, in milliseconds, and as the how-manieth of all. */
  at: number;
  order: number;
  /** It was sent more than once. */
  again: boolean;
  /** `selected`: the peer has it, and told so by SACK; some before it is missing. */
  state: 'sent' | 'lost' | 'selected';
}

/** Hears of everything that arrived at the peer, once. */
export interface Arrivals {
  /** @param end where that ends which arrived, if it is not all of it */
  arrived(sent: Sent, end: number): void;
}

/** Records that are kept; beyond that what is sent joins what was sent before it. */
const mostSent = 512;
/** Records beyond which what a peer tells is not taken down: that costs it a retransmission. */
const mostRecords = 1024;

/**
 * What is under way: all from what is acknowledged to what was never sent, by when it was sent and what is known of it. All are
 * positions in the stream that is sent.
 */
export class Flight {
  /** Bytes that the peer has behind a gap, and bytes that are lost and were not sent again. */
  selected = 0;
  lost = 0;
  /** What {@link findLost} found. */
  lostStart = 0;
  lostEnd = 0;
  readonly #records: Sent[] = [];
  readonly #arrivals: Arrivals;
  #order = 0;

  constructor(arrivals: Arrivals) {
    this.#arrivals = arrivals;
  }

  /** The position behind the last that the peer has; 0 when it has none behind a gap. */
  get selectedEnd(): number {
    const records = this.#records;
    for (let i = records.length - 1; i >= 0; i--)
      if (records[i]!.state === 'selected') return records[i]!.end;
    return 0;
  }

  /** Ranges that the peer has behind gaps. */
  get ranges(): number {
    let count = 0;
    for (const { state } of this.#records) if (state === 'selected') count++;
    return count;
  }

  /** What was never sent before goes out, behind all that was. */
  send(start: number, end: number, now: number): void {
    const last = this.#records.at(-1);
    const joins =
      last?.state === 'sent' &&
      !last.again &&
      ((last.at === now && last.order === this.#order) || this.#records.length >= mostSent);
    this.#order++;
    if (joins) {
      last.end = end;
      last.at = now;
      last.order = this.#order;
    } else {
      this.#records.push({ start, end, at: now, order: this.#order, again: false, state: 'sent' });
    }
  }

  /** What was sent before goes out again. */
  sendAgain(start: number, end: number, now: number): void {
    const order = ++this.#order;
    const first = this.#cut(start);
    const stop = this.#cut(end);
    for (let i = first; i < stop; i++) {
      const one = this.#records[i]!;
      if (one.state === 'selected') continue;
      if (one.state === 'lost') this.lost -= one.end - one.start;
      one.state = 'sent';
      one.at = now;
      one.order = order;
      one.again = true;
    }
    this.#join(first, stop, 'sent');
  }

  /**
   * The peer has all below a position. When it acknowledges no further than up to something that it told to have, it has gone
   * back on what it said, and nothing of that counts.
   */
  acknowledge(position: number): void {
    const records = this.#records;
    let gone = 0;
    for (const one of records) {
      if (one.start >= position) break;
      const end = Math.min(one.end, position);
      if (one.state === 'selected') this.selected -= end - one.start;
      else this.#arrivals.arrived(one, end);
      if (one.state === 'lost') this.lost -= end - one.start;
      one.start = end;
      if (one.end === end) gone++;
    }
    if (gone > 0) records.splice(0, gone);
    if (records[0]?.state === 'selected') this.#forget();
  }

  /** The peer has a range behind a gap. @returns how much of it it was not known to have */
  select(start: number, end: number): number {
    const records = this.#records;
    const at = this.#find(start);
    const known = records[at];
    if (known === undefined || (known.state === 'selected' && known.end >= end)) return 0;
    if (records.length >= mostRecords) return 0;
    const first = this.#cut(start);
    const stop = this.#cut(end);
    let fresh = 0;
    for (let i = first; i < stop; i++) {
      const one = records[i]!;
      if (one.state === 'selected') continue;
      const length = one.end - one.start;
      if (one.state === 'lost') this.lost -= length;
      one.state = 'selected';
      fresh += length;
      this.#arrivals.arrived(one, one.end);
    }
    this.selected += fresh;
    let [from, to] = [first, stop];
    while (from > 0 && records[from - 1]!.state === 'selected') from--;
    while (to < records.length && records[to]!.state === 'selected') to++;
    this.#join(from, to, 'selected');
    return fresh;
  }

  /** What was sent before something that arrived, and no later than a moment, is lost. @returns when the rest was sent first */
  loseOlder(order: number, end: number, sentBy: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const one of this.#records) {
      if (one.state !== 'sent') continue;
      if (one.order > order || (one.order === order && one.end > end)) continue;
      if (one.at <= sentBy) this.#lose(one);
      else earliest = Math.min(earliest, one.at);
    }
    return earliest;
  }

  /** So much of what was sent first and has not arrived is lost. */
  loseFirst(bytes: number): void {
    const [first] = this.#records;
    if (first?.state !== 'sent') return;
    this.#cut(first.start + bytes);
    this.#lose(first);
  }

  /** All that the peer is not known to have is lost. */
  loseAll(): void {
    for (const one of this.#records) if (one.state === 'sent') this.#lose(one);
  }

  /** Finds the first that is lost, and as much behind it as is lost too. False without any. */
  findLost(): boolean {
    if (this.lost === 0) return false;
    let found = false;
    for (const { start, end, state } of this.#records) {
      if (state === 'lost') {
        if (!found) this.lostStart = start;
        this.lostEnd = end;
        found = true;
      } else if (found) break;
    }
    return found;
  }

  clear(): void {
    this.#records.length = 0;
    this.selected = 0;
    this.lost = 0;
  }

  #lose(one: Sent): void {
    one.state = 'lost';
    this.lost += one.end - one.start;
  }

  #forget(): void {
    for (const one of this.#records) if (one.state === 'selected') one.state = 'sent';
    this.selected = 0;
  }

  /** Which record holds a position; behind the last one when none does. */
  #find(position: number): number {
    const records = this.#records;
    // From the end: that is where most look.
    let at = records.length;
    while (at > 0 && records[at - 1]!.start > position) at--;
    return at > 0 && records[at - 1]!.end > position ? at - 1 : at;
  }

  /** Has a record begin at a position. @returns which */
  #cut(position: number): number {
    const records = this.#records;
    const at = this.#find(position);
    const one = records[at];
    if (one === undefined || one.start >= position) return at;
    records.splice(at + 1, 0, { ...one, start: position });
    one.end = position;
    return at + 1;
  }

  /** Makes one of records that are alike now. */
  #join(first: number, stop: number, state: Sent['state']): void {
    const records = this.#records;
    if (stop - first < 2) return;
    for (let i = first; i < stop; i++) if (records[i]!.state !== state) return;
    records[first]!.end = records[stop - 1]!.end;
    records.splice(first + 1, stop - first - 1);
  }
}
