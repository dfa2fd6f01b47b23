import type { Forwarding } from './forwarding.ts';
import { type IcmpErrors, icmpErrorOf } from './icmp-errors.ts';
import type { IpPacket } from './ip-packet.ts';
import type { Settings } from './options.ts';
import type { Services } from './services.ts';
import type { Tcp, TcpRequest } from './tcp/index.ts';
import { TcpFlow } from './tcp-flow.ts';
import type { FailureReason, StreamUser, Target } from './uplink.ts';

/** Bytes of a header of TCP that ICMP repeats. */
const quotedBytes = 20;
/** Milliseconds after which a guest that says nothing is asked whether it is still there. */
const keepAlive = 600_000;

/** Connections of guests to the world outside, and to services of the network's own. */
export class TcpFlows {
  readonly #settings: Settings;
  readonly #forwarding: Forwarding;
  readonly #errors: IcmpErrors;
  readonly #services: Services;
  readonly #nameOf: (address: Uint8Array) => string | undefined;
  readonly #flows = new Set<TcpFlow>();
  /** The packet that is being looked at. */
  packet: IpPacket | undefined;

  /** @param nameOf by what name guests know an address, for uplinks that want names */
  constructor(
    settings: Settings,
    forwarding: Forwarding,
    errors: IcmpErrors,
    services: Services,
    nameOf: (address: Uint8Array) => string | undefined,
  ) {
    this.#settings = settings;
    this.#forwarding = forwarding;
    this.#errors = errors;
    this.#services = services;
    this.#nameOf = nameOf;
  }

  /** Answers what guests ask of `tcp`, in the midst of the packet that asks. */
  serve(tcp: Tcp): void {
    tcp.onConnect = (request) => this.#asked(request);
  }

  #asked(request: TcpRequest): void {
    const { packet } = this;
    const { local } = request;
    const service = this.#services.find(local.address, local.port);
    if (service !== undefined) {
      service(request.accept());
      return;
    }
    const route = packet && this.#forwarding.route(packet, 'tcp', local.port);
    if (packet === undefined || route === undefined) request.drop();
    else if (route.kind === 'own') request.refuse();
    else {
      const name = this.#settings.uplink?.wantsNames ? this.#nameOf(local.address) : undefined;
      this.#connect(request, packet, { address: route.address, port: local.port, name });
    }
  }

  #connect(request: TcpRequest, packet: IpPacket, target: Target): void {
    // The packet is gone when the uplink says what became of it.
    const { bytes, start, offset } = packet;
    const quoted = bytes.slice(start, offset + quotedBytes);
    const guest = packet.source.slice();
    const flow = new TcpFlow(() => this.#flows.delete(flow));
    this.#flows.add(flow);
    let asked = true;
    request.onGone = () => {
      asked = false;
      flow.fail('reset');
    };
    const user: StreamUser = {
      opened: () => {
        if (!asked) return;
        asked = false;
        const stream = request.accept();
        stream.keepAlive(keepAlive);
        flow.join(stream);
      },
      failed: (reason) => {
        // Nothing is left outside to be told.
        flow.abort(reason);
        if (!asked) return;
        asked = false;
        this.#refuse(request, reason, quoted, guest);
      },
      write: (written, more) => flow.write(written, more),
      give: (given) => flow.give(given),
      flush: () => flow.flush(),
      room: () => flow.room(),
      end: () => flow.end(),
      abort: (reason) => flow.abort(reason),
    };
    flow.far = this.#settings.uplink!.connect(target, user);
  }

  #refuse(request: TcpRequest, reason: FailureReason, quoted: Uint8Array, guest: Uint8Array): void {
    if (reason === 'refused' || reason === 'reset') {
      request.refuse();
      return;
    }
    request.drop();
    // Who merely got no answer goes on asking: that is how it is told.
    if (reason !== 'timed-out') this.#errors.reportQuoted(quoted, guest, icmpErrorOf[reason]);
  }

  /** Ends every stream outside. */
  close(): void {
    for (const flow of [...this.#flows]) flow.fail('reset');
  }
}
