import { addressKey } from './address.ts';
import type { TcpStream } from './tcp/index.ts';

/** Somebody in the network itself who takes connections. */
export type StreamService = (stream: TcpStream) => void | Promise<void>;

/** Who in the network itself takes connections, at which address and port. */
export class Services {
  readonly #services = new Map<string, StreamService>();

  /** False when somebody is there already. */
  add(address: Uint8Array, port: number, service: StreamService): boolean {
    const key = addressKey(address) + String.fromCharCode(port);
    if (this.#services.has(key)) return false;
    this.#services.set(key, service);
    return true;
  }

  /** False when nobody was there. */
  remove(address: Uint8Array, port: number): boolean {
    return this.#services.delete(addressKey(address) + String.fromCharCode(port));
  }

  /** Who takes connections there; a failure of it resets its connection and nothing else. */
  find(address: Uint8Array, port: number): ((stream: TcpStream) => void) | undefined {
    const service = this.#services.get(addressKey(address) + String.fromCharCode(port));
    return service && ((stream) => void serve(service, stream));
  }
}

async function serve(service: StreamService, stream: TcpStream): Promise<void> {
  try {
    await service(stream);
  } catch {
    stream.reset();
  }
}
