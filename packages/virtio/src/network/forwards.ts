import { HostError, UsageError } from '../errors.ts';
import { addressFrom, addressKey, isLoopback } from './address.ts';
import type { Settings } from './options.ts';
import type { Plan } from './plan.ts';
import type { Statistics } from './statistics.ts';
import type { Tcp } from './tcp/index.ts';
import { TcpFlow } from './tcp-flow.ts';
import type { UdpDatagram } from './udp.ts';
import type { UdpSender } from './udp-send.ts';
import type { DatagramSocket, Target, Uplink, UplinkListener } from './uplink.ts';

/** A way from outside to a guest. */
export interface ForwardOptions {
  readonly protocol: 'tcp' | 'udp';
  /** The address of the host's at which it begins; 127.0.0.1 unless told. */
  readonly address?: string | undefined;
  /** The port at which it begins; any that is free unless told. */
  readonly port?: number | undefined;
  /** The guest's address; the first that DHCP leases unless told. */
  readonly guest?: string | undefined;
  /** The guest's port. */
  readonly guestPort: number;
}

/** A way that was made. */
export interface Forward {
  readonly address: string;
  readonly port: number;
  /** Takes nothing more. Connections that were taken go on. */
  close(): void;
}

/** Those who sent datagrams by one forward, and whom the guest may answer; the one that was silent longest is forgotten. */
const mostPeers = 1024;

/** Whoever sent a datagram to a guest. */
interface Peer {
  readonly address: string;
  readonly port: number;
}

interface DatagramForward {
  /** By what the guest knows those who sent to it, and what the uplink knows them by. */
  readonly peers: Map<string, Peer>;
  readonly send: UplinkListener & Pick<DatagramSocket, 'send'>;
}

/** Ways from outside into the network. */
export class Forwards {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #plan: Plan;
  readonly #tcp: Tcp;
  readonly #udp: UdpSender;
  readonly #flows = new Set<TcpFlow>();
  readonly #listeners = new Set<UplinkListener>();
  /** By the guest's address and port. */
  readonly #datagrams = new Map<string, DatagramForward>();
  #closed = false;

  constructor(settings: Settings, statistics: Statistics, plan: Plan, tcp: Tcp, udp: UdpSender) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#plan = plan;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  async add(options: ForwardOptions): Promise<Forward> {
    const { protocol, address = '127.0.0.1', port = 0, guestPort } = options;
    const { uplink, ipv4 } = this.#settings;
    const guest = options.guest === undefined ? ipv4?.guest : addressFrom(options.guest);
    if (guest === undefined || !this.#plan.isGuest(guest)) {
      throw new UsageError('BAD_ARGUMENT', `${options.guest ?? 'nobody'} is no address of a guest: name one`);
    }
    if (![port, guestPort].every((number) => Number.isInteger(number) && number >= 0 && number < 65_536)) {
      throw new UsageError('BAD_ARGUMENT', `ports ${port} and ${guestPort}: give numbers below 65536`);
    }
    const listener = await (protocol === 'tcp'
      ? this.#listen(uplink, { address, port }, guest, guestPort)
      : this.#listenDatagrams(uplink, { address, port }, guest, guestPort));
    if (this.#closed) {
      listener.close();
      throw new UsageError('BAD_STATE', 'the network was closed meanwhile');
    }
    this.#listeners.add(listener);
    return {
      address: listener.address,
      port: listener.port,
      close: () => {
        if (this.#listeners.delete(listener)) listener.close();
      },
    };
  }

  /** Takes a guest's answer to a datagram that came in by a forward; false of any other. */
  receive({ packet, sourcePort, port, payload }: UdpDatagram): boolean {
    const forward = this.#datagrams.get(keyOf(packet.source, sourcePort));
    const peer = forward?.peers.get(keyOf(packet.destination, port));
    if (forward === undefined || peer === undefined) return false;
    if (!forward.send.send(payload, peer.address, peer.port)) this.#statistics.drop('uplink');
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners) listener.close();
    this.#listeners.clear();
    this.#datagrams.clear();
    for (const flow of [...this.#flows]) flow.fail('reset');
  }

  async #listen(
    uplink: Uplink | undefined,
    where: Peer,
    guest: Uint8Array,
    guestPort: number,
  ): Promise<UplinkListener> {
    if (uplink?.listen === undefined) throw cannot();
    return await uplink.listen(where, (far, from) => {
      if (this.#tcp.connections >= this.#settings.limits.connections) return undefined;
      const flow = new TcpFlow(() => this.#flows.delete(flow));
      this.#flows.add(flow);
      flow.far = far;
      void this.#connect(flow, from, guest, guestPort);
      return flow;
    });
  }

  async #connect(flow: TcpFlow, from: Target, guest: Uint8Array, port: number): Promise<void> {
    const local = this.#seenFrom(from, guest);
    const remote = { address: guest, port };
    try {
      let stream: Awaited<ReturnType<Tcp['connect']>>;
      try {
        stream = await this.#tcp.connect(local, remote);
      } catch (error) {
        // Another connection from that port may not be forgotten yet.
        if (!(error instanceof UsageError) || error.code !== 'BAD_ARGUMENT') throw error;
        stream = await this.#tcp.connect({ ...local, port: 0 }, remote);
      }
      flow.join(stream);
    } catch (error) {
      flow.fail(error instanceof HostError && error.code === 'CONNECTION_REFUSED' ? 'refused' : 'timed-out');
    }
  }

  async #listenDatagrams(
    uplink: Uplink | undefined,
    where: Peer,
    guest: Uint8Array,
    guestPort: number,
  ): Promise<UplinkListener> {
    if (uplink?.listenDatagrams === undefined) throw cannot();
    const key = keyOf(guest, guestPort);
    const peers = new Map<string, Peer>();
    const send = await uplink.listenDatagrams(where, {
      received: (bytes, address, port) => {
        const local = this.#seenFrom({ address, port }, guest);
        const peer = keyOf(local.address, port);
        peers.delete(peer);
        peers.set(peer, { address, port });
        if (peers.size > mostPeers) peers.delete(peers.keys().next().value ?? peer);
        this.#deliver(bytes, local, guest, guestPort);
      },
      failed: () => {},
    });
    if (this.#datagrams.has(key)) {
      send.close();
      throw new UsageError('BAD_ARGUMENT', `there is a forward to port ${guestPort} of that guest already`);
    }
    this.#datagrams.set(key, { peers, send });
    return {
      address: send.address,
      port: send.port,
      close: () => {
        this.#datagrams.delete(key);
        send.close();
      },
    };
  }

  #deliver(
    bytes: Uint8Array,
    local: { readonly address: Uint8Array; readonly port: number },
    guest: Uint8Array,
    port: number,
  ): void {
    const payload = this.#udp.payload(guest.length === 4 ? 4 : 6);
    if (bytes.length > payload.length) {
      this.#statistics.drop('limit');
      return;
    }
    payload.set(bytes);
    if (!this.#udp.send(local.address, local.port, guest, port, bytes.length)) this.#statistics.drop('limit');
  }

  /** From where a guest sees somebody outside who reaches it: the host is at its own address in the network. */
  #seenFrom({ address: text, port }: Target, guest: Uint8Array): { address: Uint8Array; port: number } {
    const { ipv4, ipv6 } = this.#settings;
    const host = guest.length === 4 ? ipv4!.host : ipv6!.host;
    const address = addressFrom(text);
    if (address?.length !== guest.length || isLoopback(address)) return { address: host, port };
    return { address: this.#plan.kindOf(address) === 'outside' ? address : host, port };
  }
}

function keyOf(address: Uint8Array, port: number): string {
  return addressKey(address) + String.fromCharCode(port);
}

function cannot(): UsageError {
  return new UsageError('BAD_STATE', 'the uplink takes nothing from outside: forwards need one that listens');
}
