/** Steps within each power of two: figures are right to 3 %. */
const steps = 32;
const powers = 40;

/** Counts how long things took, in nanoseconds, without keeping each of them. */
export class Latencies {
  readonly #counts = new Float64Array(powers * steps);
  #count = 0;
  #sum = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;

  get count(): number {
    return this.#count;
  }

  add(nanoseconds: number): void {
    this.#count++;
    this.#sum += nanoseconds;
    if (nanoseconds < this.#least) this.#least = nanoseconds;
    if (nanoseconds > this.#most) this.#most = nanoseconds;
    const slot = slotOf(nanoseconds);
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  /** Counts what another has counted as well. */
  addAll(other: Latencies): void {
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#least = Math.min(this.#least, other.#least);
    this.#most = Math.max(this.#most, other.#most);
    for (const [slot, count] of other.#counts.entries())
      this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }

  /** Nanoseconds that so many of a hundred did not exceed. */
  percentile(percent: number): number {
    let left = Math.ceil((this.#count * percent) / 100);
    for (const [slot, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0 && this.#count > 0)
        return slot === this.#counts.length - 1 ? this.#most : Math.min(endOf(slot), this.#most);
    }
    return this.#most;
  }

  /** Microseconds. */
  summary(): LatencySummary {
    const micro = (nanoseconds: number): number => Math.round(nanoseconds / 10) / 100;
    return {
      min: micro(this.#count === 0 ? 0 : this.#least),
      mean: micro(this.#count === 0 ? 0 : this.#sum / this.#count),
      p50: micro(this.percentile(50)),
      p90: micro(this.percentile(90)),
      p99: micro(this.percentile(99)),
      p999: micro(this.percentile(99.9)),
      max: micro(this.#most),
    };
  }
}

/** Microseconds. */
export interface LatencySummary {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

function slotOf(nanoseconds: number): number {
  if (nanoseconds < 1) return 0;
  const power = Math.min(powers - 1, Math.floor(Math.log2(nanoseconds)));
  return power * steps + Math.min(steps - 1, Math.floor((nanoseconds / 2 ** power - 1) * steps));
}

const endOf = (slot: number): number => 2 ** Math.floor(slot / steps) * (1 + ((slot % steps) + 1) / steps);
