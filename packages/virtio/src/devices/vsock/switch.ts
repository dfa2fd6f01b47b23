import { UsageError } from '../../errors.ts';
import type { VsockDevice } from './device.ts';
import type { VsockRequest } from './spec-endpoint.ts';
import type { VsockSeqpacket, VsockSocket, VsockStream } from './spec-stream.ts';

/**
 * Lets guests connect to one another by their CIDs, through their devices, which are in one process. A connection is one at
 * each guest, with a pump between: each guest's credit is its own affair, and whoever does not read holds back that
 * connection alone.
 */
export class VsockSwitch {
  readonly #devices = new Set<VsockDevice>();

  /**
   * Lets a device's guest reach those of the others, and them it, until it is removed; connections that there are go on then.
   *
   * @throws {UsageError} BAD_ARGUMENT when another guest has its CID.
   */
  add(device: VsockDevice): { remove(): void } {
    const { guestCid } = device;
    if (this.#deviceOf(guestCid) !== undefined) {
      throw new UsageError('BAD_ARGUMENT', `a guest with CID ${guestCid} is here already: give each its own`);
    }
    this.#devices.add(device);
    device.onSiblingRequest = (request) => this.#join(request);
    return {
      remove: () => {
        if (this.#devices.delete(device)) device.onSiblingRequest = undefined;
      },
    };
  }

  /** A CID may change: the device knows it. */
  #deviceOf(cid: number): VsockDevice | undefined {
    for (const device of this.#devices) if (device.guestCid === cid) return device;
    return undefined;
  }

  /** What is thrown here refuses the request. */
  async #join(request: VsockRequest): Promise<void> {
    const { cid, port, peerCid, peerPort } = request;
    const device = this.#deviceOf(cid);
    // To itself a guest has a shorter way.
    if (device === undefined || cid === peerCid) {
      request.refuse();
      return;
    }
    const source = { cid: peerCid, port: peerPort };
    if (request.kind === 'stream') {
      const far = await device.connect(port, source);
      pump(request.accept(), far, carryBytes);
    } else {
      const far = await device.connectSeqpacket(port, source);
      pump(request.accept(), far, carryMessages);
    }
  }
}

/** Both ways, each half ending by itself; what becomes of one end otherwise becomes of the other. */
function pump<S extends VsockSocket>(one: S, other: S, carry: (from: S, to: S) => Promise<void>): void {
  Promise.all([carry(one, other), carry(other, one)]).catch(() => {
    one.reset();
    other.reset();
  });
}

async function carryBytes(from: VsockStream, to: VsockStream): Promise<void> {
  for await (const bytes of from) await to.write(bytes);
  to.end();
}

async function carryMessages(from: VsockSeqpacket, to: VsockSeqpacket): Promise<void> {
  for await (const { data, endOfRecord } of from) await to.send(data, endOfRecord);
  to.end();
}
