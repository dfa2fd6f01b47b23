import { UsageError } from 'virtio/errors';
import { isMulticast, macAddress } from 'virtio/link';
import type { StreamAddress } from 'virtio-node/network';
import { usage } from '../exit-status.ts';
import { wholeNumber } from '../whole-number.ts';

/** A port of this machine that leads to one of the guest's. */
export interface ForwardPlan {
  readonly protocol: 'tcp' | 'udp';
  /** Of this machine; every port is its own unless told. */
  readonly address: string;
  readonly port: number;
  readonly guestPort: number;
}

/** What a network device is to be connected to. */
export type BackEndPlan =
  | { readonly kind: 'user'; readonly forwards: readonly ForwardPlan[]; readonly restrict: boolean }
  | { readonly kind: 'stream'; readonly address: StreamAddress; readonly listens: boolean }
  | { readonly kind: 'tap'; readonly name: string; readonly queues: number };

/** A network device, and what it is to be connected to. */
export type NetPlan = BackEndPlan & {
  /** As it was typed. */
  readonly text: string;
  /** Six bytes; any that nobody has unless told. */
  readonly mac: Uint8Array | undefined;
  /** Bytes of the largest packet; 1500 unless told. */
  readonly mtu: number | undefined;
};

/** What `--net` takes, for people. */
export const netForms =
  'user[,forward=tcp:HOST:GUEST][,restrict] | stream:PATH[,listen] | tap:NAME[,queues=N] | none; each but none with ,mac=ADDRESS and ,mtu=BYTES';

const kinds = ['user', 'stream', 'tap', 'none'];

/**
 * Reads what `--net` was given, each a device.
 *
 * @throws {CommandError} that names the first mistake.
 */
export function parseNets(texts: readonly string[]): NetPlan[] {
  if (texts.includes('none')) {
    if (texts.length === 1) return [];
    throw usage('--net none does not go with another --net; leave one of them out');
  }
  const plans = texts.map(parseNet);
  const places = plans.flatMap((plan) => (plan.kind === 'user' ? plan.forwards : []));
  const seen = new Set<string>();
  for (const { protocol, address, port } of places) {
    const place = `${protocol}:${address}:${port}`;
    if (seen.has(place)) throw usage(`--net: ${place} is forwarded twice; give each port once`);
    seen.add(place);
  }
  return plans;
}

/** Reads one. @throws {CommandError} */
export function parseNet(text: string): NetPlan {
  const [head = '', ...words] = text.split(',');
  const at = head.indexOf(':');
  const kind = at < 0 ? head : head.slice(0, at);
  const rest = at < 0 ? '' : head.slice(at + 1);
  const options = new Options(text, words);
  const common = { text, mac: options.one('mac', parseMac), mtu: options.one('mtu', parseMtu) };
  const plan: NetPlan = { ...common, ...backEnd(text, kind, rest, options) };
  options.finish();
  return plan;
}

/** A MAC address of one device, six bytes. @throws {CommandError} */
export function parseMac(text: string, option = '--net'): Uint8Array {
  let mac: Uint8Array;
  try {
    mac = macAddress(text);
  } catch (error) {
    if (error instanceof UsageError) throw usage(`${option} ${error.message}`, error);
    throw error;
  }
  if (!isMulticast(mac)) return mac;
  throw usage(`${option} ${text} is the address of a group; that of one device begins with an even number`);
}

/** @throws {CommandError} */
export function parseMtu(text: string, option = '--net'): number {
  const mtu = wholeNumber(text, 1280, 65_535);
  if (mtu === undefined) throw usage(`${option} ${text}: an MTU is a number of bytes from 1280 to 65535`);
  return mtu;
}

function backEnd(text: string, kind: string, rest: string, options: Options): BackEndPlan {
  switch (kind) {
    case 'user':
      if (rest !== '') throw usage(`--net ${text}: options of user stand behind a comma: user,forward=…`);
      return {
        kind,
        forwards: options.all('forward', (forward) => parseForward(text, forward)),
        restrict: options.flag('restrict'),
      };
    case 'stream':
      if (rest === '') throw usage(`--net ${text} names no socket; give stream:PATH`);
      return { kind, address: streamAddress(text, rest), listens: options.flag('listen') };
    case 'tap':
      if (rest === '') throw usage(`--net ${text} names no interface; give tap:NAME`);
      return { kind, name: rest, queues: options.one('queues', (queues) => parseQueues(text, queues)) ?? 1 };
    default:
      throw usage(`--net ${text}: ${kind} is no network; give one of ${kinds.join(', ')}`);
  }
}

/** Queues of an interface, as many as the kernel has. */
function parseQueues(text: string, given: string): number {
  const queues = wholeNumber(given, 1, 256);
  if (queues === undefined) throw usage(`--net ${text}: queues are a number from 1 to 256`);
  return queues;
}

/** A path, or `tcp:HOST:PORT`. */
function streamAddress(text: string, rest: string): StreamAddress {
  const [, host, port] = /^tcp:(.*):(\d+)$/.exec(rest) ?? [];
  if (host !== undefined && port !== undefined) {
    return { host: withoutBrackets(host), port: portOf(`--net ${text}`, port) };
  }
  if (rest.startsWith('tcp:')) throw usage(`--net ${text}: give tcp:HOST:PORT`);
  const path = rest.replace(/^unix:/, '');
  if (path === '') throw usage(`--net ${text} names no socket; give stream:PATH`);
  return { path };
}

/** `tcp:HOST:GUEST`, where HOST is a port of this machine, with an address before it for one that is not 127.0.0.1. */
function parseForward(text: string, forward: string): ForwardPlan {
  const [, protocol, address, port = '', guestPort = ''] =
    /^(tcp|udp):(?:([\d.]+|\[[\da-f:.]+\]):)?(\d+):(\d+)$/i.exec(forward) ?? [];
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw usage(`--net ${text}: forward=${forward} is none; give tcp:8080:80, or udp:0.0.0.0:5353:53`);
  }
  const option = `--net ${text}`;
  return {
    protocol,
    address: address === undefined ? '127.0.0.1' : withoutBrackets(address),
    port: portOf(option, port),
    guestPort: portOf(option, guestPort),
  };
}

function portOf(option: string, text: string): number {
  const port = wholeNumber(text, 1, 65_535);
  if (port === undefined) throw usage(`${option}: ${text} is no port; give a number from 1 to 65535`);
  return port;
}

const withoutBrackets = (host: string): string => host.replace(/^\[(.*)\]$/, '$1');

/** Words of the form `name` and `name=value`, each of which has to be asked for. */
class Options {
  readonly #text: string;
  #words: readonly (readonly [name: string, value: string | undefined])[];

  constructor(text: string, words: readonly string[]) {
    this.#text = text;
    this.#words = words.map((word) => {
      const at = word.indexOf('=');
      return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
    });
  }

  all<T>(name: string, parse: (value: string) => T): T[] {
    return this.#take(name).map((value) => {
      if (value === undefined) throw usage(`--net ${this.#text}: ${name} needs a value: ${name}=…`);
      return parse(value);
    });
  }

  one<T>(name: string, parse: (value: string) => T): T | undefined {
    const values = this.all(name, parse);
    if (values.length > 1) throw usage(`--net ${this.#text}: ${name} is given twice`);
    return values[0];
  }

  flag(name: string): boolean {
    const values = this.#take(name);
    if (values.some((value) => value !== undefined)) throw usage(`--net ${this.#text}: ${name} has no value`);
    return values.length > 0;
  }

  /** @throws {CommandError} for a word that nobody has asked for */
  finish(): void {
    const [other] = this.#words;
    if (other !== undefined)
      throw usage(`--net ${this.#text}: ${other[0]} is no option of it; there are ${netForms}`);
  }

  #take(name: string): (string | undefined)[] {
    const taken = this.#words.filter(([other]) => other === name);
    this.#words = this.#words.filter(([other]) => other !== name);
    return taken.map(([, value]) => value);
  }
}
