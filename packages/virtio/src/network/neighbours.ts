import { addressKey, sameBytes } from './address.ts';
import type { Statistics } from './statistics.ts';
import type { Clock } from './tcp/index.ts';

/** Stations that are remembered; the one that was silent longest makes room. */
const mostStations = 1024;
/** Addresses that are being asked for at a time, frames that wait for each, and bytes that wait for all. */
const mostAsked = 64;
const mostWaiting = 128;
const mostBytes = 1 << 20;
/** How often an address is asked for, and how many milliseconds apart. */
const mostTries = 3;
const interval = 1000;

interface Question {
  readonly address: Uint8Array;
  readonly frames: Uint8Array[];
  tries: number;
  stop: () => void;
}

/** Which station of the link has which address of IP: what ARP and NDP find out. */
export class Neighbours {
  readonly #stations = new Map<string, Uint8Array>();
  readonly #questions = new Map<string, Question>();
  readonly #clock: Clock;
  readonly #statistics: Statistics;
  readonly #ask: (address: Uint8Array) => void;
  readonly #send: (frame: Uint8Array) => void;
  #waitingBytes = 0;
  #lastAddress: Uint8Array = new Uint8Array();
  #lastMac: Uint8Array = new Uint8Array();

  /** `ask` asks the link who has an address; `send` sends a frame that waited, its destination filled in. */
  constructor(
    clock: Clock,
    statistics: Statistics,
    ask: (address: Uint8Array) => void,
    send: (frame: Uint8Array) => void,
  ) {
    this.#clock = clock;
    this.#statistics = statistics;
    this.#ask = ask;
    this.#send = send;
  }

  /** The station that has an address; `undefined` when it has to be asked for. */
  find(address: Uint8Array): Uint8Array | undefined {
    if (sameBytes(address, this.#lastAddress)) return this.#lastMac;
    return this.#stations.get(addressKey(address));
  }

  /** An address was seen with a station. Both are lent. */
  learn(address: Uint8Array, mac: Uint8Array): void {
    if (sameBytes(address, this.#lastAddress) && sameBytes(mac, this.#lastMac)) return;
    // A station is one: nobody has a group's address.
    if ((mac[0]! & 1) !== 0) return;
    const key = addressKey(address);
    this.#lastAddress = address.slice();
    this.#lastMac = mac.slice();
    this.#stations.delete(key);
    this.#stations.set(key, this.#lastMac);
    if (this.#stations.size > mostStations) {
      for (const oldest of this.#stations.keys()) {
        this.#stations.delete(oldest);
        break;
      }
    }
    this.#answered(key, this.#lastMac);
  }

  /** Keeps a copy of a frame until it is known which station has the address, and asks. */
  wait(address: Uint8Array, frame: Uint8Array): void {
    const key = addressKey(address);
    const question = this.#questions.get(key);
    const tooMany = this.#waitingBytes + frame.length > mostBytes;
    if (question !== undefined) {
      if (question.frames.length >= mostWaiting || tooMany) this.#statistics.drop('limit');
      else {
        question.frames.push(frame.slice());
        this.#waitingBytes += frame.length;
      }
      return;
    }
    if (this.#questions.size >= mostAsked || tooMany) {
      this.#statistics.drop('limit');
      return;
    }
    this.#waitingBytes += frame.length;
    const asked: Question = { address: address.slice(), frames: [frame.slice()], tries: 0, stop: () => {} };
    this.#questions.set(key, asked);
    this.#try(key, asked);
  }

  /** Forgets everything: another link, another neighbourhood. */
  clear(): void {
    for (const [key, question] of [...this.#questions]) this.#forget(key, question);
    this.#stations.clear();
    this.#lastAddress = new Uint8Array();
  }

  #try(key: string, question: Question): void {
    if (question.tries === mostTries) {
      for (const _ of this.#forget(key, question)) this.#statistics.drop('no-such-host');
      return;
    }
    question.tries++;
    question.stop = this.#clock.setTimer(interval, () => this.#try(key, question));
    this.#ask(question.address);
  }

  #answered(key: string, mac: Uint8Array): void {
    const question = this.#questions.get(key);
    if (question === undefined) return;
    for (const frame of this.#forget(key, question)) {
      frame.set(mac, 0);
      this.#send(frame);
    }
  }

  /** The frames that waited. */
  #forget(key: string, question: Question): readonly Uint8Array[] {
    this.#questions.delete(key);
    question.stop();
    for (const { length } of question.frames) this.#waitingBytes -= length;
    return question.frames;
  }
}
