import { addressFrom, isLoopback } from './address.ts';
import {
  answerOf,
  answers,
  codeOf,
  type DnsQuestion,
  dnsCode,
  dnsHeader,
  dnsType,
  fitted,
  readQuestion,
  refusalOf,
} from './dns-message.ts';
import { NamePool } from './names.ts';
import type { Settings } from './options.ts';
import type { Statistics } from './statistics.ts';
import type { TcpStream } from './tcp/index.ts';
import type { UdpDatagram } from './udp.ts';
import type { UdpSender } from './udp-send.ts';

export const dnsPort = 53;

/** Bytes of a query, beyond which it is none that anybody needs. */
const longestQuery = 4096;
/** Seconds for which guests may remember what is ours to say. */
const remember = 60;
/** Addresses of a name that guests are told. */
const mostAddresses = 16;
/** Milliseconds that a connection may be silent. */
const patience = 30_000;

/** The network's name server: it knows the names that it was told, and asks the uplink for all others. */
export class DnsForwarder {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #udp: UdpSender;
  readonly pool = new NamePool();
  #underWay = 0;

  constructor(settings: Settings, statistics: Statistics, udp: UdpSender) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#udp = udp;
  }

  /** Takes a query over UDP; the answer goes back to where it came from. */
  receive({ packet, sourcePort, payload }: UdpDatagram): void {
    const query = payload.slice(0, longestQuery);
    const [from, to] = [packet.destination.slice(), packet.source.slice()];
    void this.#answer(query, false).then((answer) => {
      if (answer === undefined) return;
      this.#udp.payload(to.length === 4 ? 4 : 6).set(answer);
      this.#udp.send(from, dnsPort, to, sourcePort, answer.length);
    });
  }

  /** Takes queries over TCP, one after the other: RFC 7766, with two bytes of length in front of each. */
  async serve(stream: TcpStream): Promise<void> {
    const { clock } = this.#settings;
    let stop = (): void => {};
    const wait = (): void => {
      stop();
      stop = clock.setTimer(patience, () => stream.reset());
    };
    let waiting: Uint8Array = new Uint8Array();
    try {
      wait();
      for await (const bytes of stream) {
        wait();
        waiting = joined(waiting, bytes);
        for (let size = lengthOf(waiting); waiting.length >= 2 + size; size = lengthOf(waiting)) {
          const answer = await this.#answer(waiting.slice(2, 2 + Math.min(size, longestQuery)), true);
          waiting = waiting.slice(2 + size);
          if (answer === undefined) continue;
          await stream.write(joined(Uint8Array.of(answer.length >> 8, answer.length), answer));
        }
      }
      await stream.close();
    } finally {
      stop();
    }
  }

  async #answer(query: Uint8Array, large: boolean): Promise<Uint8Array | undefined> {
    const question = readQuestion(query);
    if (question === undefined) {
      this.#statistics.drop('malformed');
      return undefined;
    }
    if (typeof question === 'number') return refusalOf(query, question);
    const room = large ? 65_535 : question.room;
    const known = this.#known(query, question);
    if (known !== undefined) return fitted(known, question, room);
    if (this.#underWay >= this.#settings.limits.queries) {
      this.#statistics.drop('limit');
      return undefined;
    }
    this.#underWay++;
    try {
      return fitted(await this.#ask(query, question, large), question, room);
    } catch {
      return answerOf(query, question, dnsCode.SERVER_FAILURE);
    } finally {
      this.#underWay--;
    }
  }

  /** What can be said without asking anybody. */
  #known(query: Uint8Array, question: DnsQuestion): Uint8Array | undefined {
    const { names, uplink, restrict } = this.#settings;
    const { name, type } = question;
    const addresses = names.get(name);
    if (addresses !== undefined) {
      const length = type === dnsType.A ? 4 : type === dnsType.AAAA ? 16 : 0;
      const wanted = addresses.filter((address) => address.length === length);
      return answerOf(query, question, dnsCode.NO_ERROR, wanted, remember);
    }
    if (restrict || uplink === undefined) return answerOf(query, question, dnsCode.REFUSED);
    if (!uplink.wantsNames) return undefined;
    const mapped = type === dnsType.A && name.includes('.') ? [this.pool.addressOf(name)] : [];
    return answerOf(query, question, dnsCode.NO_ERROR, mapped, remember);
  }

  async #ask(query: Uint8Array, question: DnsQuestion, large: boolean): Promise<Uint8Array> {
    const { uplink } = this.#settings;
    const { name } = question;
    // What is known on the host alone is none of the name servers' business.
    const local = !name.includes('.') || name.endsWith('.localhost') || name.endsWith('.local');
    if (local) {
      const found = await this.#lookUp(query, question);
      if (found !== undefined) return found;
    }
    const answer = await uplink?.query?.(query, { large });
    const valid = answer !== undefined && answer.length >= dnsHeader && answers(answer, query, question);
    if (valid && codeOf(answer) !== dnsCode.NO_SUCH_NAME) return answer;
    const found = local ? undefined : await this.#lookUp(query, question);
    return found ?? (valid ? answer : answerOf(query, question, dnsCode.SERVER_FAILURE));
  }

  /** What the host itself knows of a name; `undefined` when that is nothing. */
  async #lookUp(query: Uint8Array, question: DnsQuestion): Promise<Uint8Array | undefined> {
    const { uplink, ipv4, ipv6 } = this.#settings;
    const { name, type } = question;
    const family = type === dnsType.A ? 4 : type === dnsType.AAAA ? 6 : undefined;
    if (family === undefined || uplink?.lookup === undefined || name === '') return undefined;
    const length = family === 4 ? 4 : 16;
    const host = family === 4 ? ipv4?.host : ipv6?.host;
    const itself = name === 'localhost' || name.endsWith('.localhost');
    const found: Uint8Array[] = [];
    for (const text of (await uplink.lookup(name, family)).slice(0, mostAddresses)) {
      const address = addressFrom(text);
      if (address?.length !== length) continue;
      // By another name the host itself is meant, and not who asks.
      const shown = isLoopback(address) && !itself ? host : address;
      if (shown !== undefined) found.push(shown);
    }
    // That name there always is, with addresses of this family or not: RFC 6761, 6.3.
    if (found.length === 0 && !itself) return undefined;
    return answerOf(query, question, dnsCode.NO_ERROR, found, remember);
  }
}

/** Bytes of the message that a length in front of it tells of; more than there can be without one. */
function lengthOf(bytes: Uint8Array): number {
  return bytes.length < 2 ? 65_536 : (bytes[0]! << 8) | bytes[1]!;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
