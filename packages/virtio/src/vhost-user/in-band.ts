/**
 * Notifications as messages, one at a time for each ring: what happens while one was not heard yet is told of by the next.
 * A message is "heard" when what `tell` gives settles, and one that fails is left: who hears nothing is told nothing more.
 */
export class InBandNotifier {
  readonly #tell: () => Promise<void>;
  #underWay = false;
  #again = false;

  constructor(tell: () => Promise<void>) {
    this.#tell = tell;
  }

  notify(): void {
    this.#again = true;
    if (!this.#underWay) void this.#tellAll();
  }

  async #tellAll(): Promise<void> {
    this.#underWay = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#tell();
      }
    } catch {
      // The connection is over, and its listeners hear of that; or the other side does not want to hear.
    }
    this.#underWay = false;
  }
}
