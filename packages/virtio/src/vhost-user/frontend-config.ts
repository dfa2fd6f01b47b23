import { UsageError } from '../errors.ts';
import { type FrontEndSession, mostConfigBytes } from './frontend-session.ts';

/**
 * The configuration of a device behind a back end, which has no generation: it rises when what was read before reads
 * differently. Where the back end keeps no configuration, it is the front end's own.
 */
export class FrontEndConfig {
  readonly #own: Uint8Array | undefined;
  /** The longest beginning that was read. */
  #known: Uint8Array = new Uint8Array(0);
  #generation = 0;

  constructor(own: Uint8Array | undefined) {
    this.#own = own?.slice();
  }

  /** @throws {UsageError} BAD_ARGUMENT for bytes that no message can carry. */
  async read(session: FrontEndSession, offset: number, length: number): Promise<Uint8Array> {
    const end = this.#check(session, offset, length);
    if (!session.has('CONFIG')) return this.#ownBytes().slice(offset, end);
    await this.#refresh(session, end);
    return this.#known.slice(offset, end);
  }

  async write(session: FrontEndSession, offset: number, bytes: Uint8Array): Promise<void> {
    this.#check(session, offset, bytes.length);
    if (session.has('CONFIG')) await session.writeConfig(offset, bytes);
    else this.#ownBytes().set(bytes, offset);
  }

  /** The generation of what is there now. */
  async look(session: FrontEndSession): Promise<number> {
    if (session.has('CONFIG') && this.#known.length > 0) await this.#refresh(session, 0);
    return this.#generation;
  }

  /** Reads at least what was read before, since what belongs together may have been read in two parts. */
  async #refresh(session: FrontEndSession, end: number): Promise<void> {
    const before = this.#known;
    const now = await session.readConfig(Math.max(end, before.length));
    if (before.some((byte, index) => byte !== now[index])) this.#generation++;
    this.#known = now;
  }

  #check(session: FrontEndSession, offset: number, length: number): number {
    const most = session.has('CONFIG') ? mostConfigBytes : this.#ownBytes().length;
    if (offset + length <= most) return offset + length;
    throw new UsageError(
      'BAD_ARGUMENT',
      `${length} bytes at ${offset} are not within ${most} of configuration`,
    );
  }

  #ownBytes(): Uint8Array {
    if (this.#own !== undefined) return this.#own;
    throw new UsageError('BAD_STATE', 'the back end keeps no configuration: give `config` to the front end');
  }
}
