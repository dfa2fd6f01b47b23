import { socketType } from './spec.ts';
import type { Endpoint, VsockListener, VsockRequest, VsockSource } from './spec-endpoint.ts';
import { VsockSeqpacket, type VsockSocket, VsockStream } from './spec-stream.ts';

/** Has a connection. When it throws, or its promise rejects, the connection is reset. */
export type StreamHandler = (stream: VsockStream) => unknown;
export type SeqpacketHandler = (socket: VsockSeqpacket) => unknown;

/** Connections to and from one peer, as a program makes and takes them. */
export class Sockets {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  async connect(peerCid: number, port: number, source?: VsockSource): Promise<VsockStream> {
    return new VsockStream(await this.#endpoint.connect(socketType.STREAM, peerCid, port, source));
  }

  async connectSeqpacket(peerCid: number, port: number, source?: VsockSource): Promise<VsockSeqpacket> {
    return new VsockSeqpacket(await this.#endpoint.connect(socketType.SEQPACKET, peerCid, port, source));
  }

  listen(port: number, handler: StreamHandler): VsockListener {
    return this.#endpoint.listen(socketType.STREAM, port, (request) => {
      if (request.kind === 'stream') handOn(request.accept(), handler);
    });
  }

  listenSeqpacket(port: number, handler: SeqpacketHandler): VsockListener {
    return this.#endpoint.listen(socketType.SEQPACKET, port, (request) => {
      if (request.kind === 'seqpacket') handOn(request.accept(), handler);
    });
  }
}

/** Asks a handler about a request. What it throws, now or later, refuses the request. */
export function ask(handler: (request: VsockRequest) => unknown, request: VsockRequest): void {
  attempt(
    () => handler(request),
    () => request.refuse(),
  );
}

/** A program's mistake with one connection is no reason to have the device fail. */
function handOn<S extends VsockSocket>(socket: S, handler: (socket: S) => unknown): void {
  attempt(
    () => handler(socket),
    () => socket.reset(),
  );
}

function attempt(work: () => unknown, failed: () => void): void {
  try {
    Promise.resolve(work()).catch(failed);
  } catch {
    failed();
  }
}
