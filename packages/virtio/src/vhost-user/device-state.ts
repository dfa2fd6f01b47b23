import type { Channel } from '../channel/channel.ts';
import type { ChannelHost } from '../channel/channel-host.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { closeAll } from '../channel/descriptors.ts';
import { GatheredBytes } from '../channel/gathered-bytes.ts';
import type { DeviceCore } from '../device/core.ts';
import { restoreOwnState, saveOwnState } from '../device/own-state.ts';
import type { DeviceOwnState } from '../device/state.ts';
import { asVirtioError, UsageError, type VirtioError } from '../errors.ts';
import { isByte } from '../spec/is-byte.ts';
import { decodeUtf8, encodeUtf8 } from '../spec/utf8.ts';
import { bad } from './message-stream.ts';

/** Bytes of a device's state that are taken. */
const mostBytes = 16 * 2 ** 20;

/** Moves a device's state out or in, through a pipe that the front end gives: JSON in UTF-8, to the end of the pipe. */
export class DeviceStateTransfer {
  readonly #core: DeviceCore;
  readonly #host: ChannelHost;
  #channel: Channel | undefined;
  /** True once the state of the last transfer is where it should be. */
  #result: Promise<boolean> = Promise.resolve(false);
  /** What a transfer failed of. */
  error: VirtioError | undefined;

  constructor(core: DeviceCore, host: ChannelHost) {
    this.#core = core;
    this.#host = host;
  }

  /**
   * Takes the descriptor over, and writes the state to it. A device that cannot be saved now says so to `check`: the front
   * end goes on with it where it is.
   *
   * @throws {HostError} IO_ERROR when it is no pipe.
   */
  save(descriptor: Descriptor): void {
    const channel = this.#begin(descriptor);
    channel.listen({ received: (_, descriptors) => closeAll(descriptors), closed() {} });
    try {
      channel.send(encodeUtf8(JSON.stringify(saveOwnState(this.#core))));
      this.#result = Promise.resolve(true);
    } catch (error) {
      this.#result = Promise.resolve(this.#failed(asVirtioError(error, 'the device cannot be saved')));
    } finally {
      channel.close();
    }
  }

  /**
   * Takes the descriptor over, reads a state from it and puts the device into it.
   *
   * @throws {HostError} IO_ERROR when it is no pipe.
   */
  load(descriptor: Descriptor): void {
    const channel = this.#begin(descriptor);
    this.#result = new Promise((resolve) => {
      const state = new GatheredBytes();
      channel.listen({
        received: (bytes, descriptors) => {
          closeAll(descriptors);
          state.append(bytes);
          if (state.length > mostBytes) resolve(this.#failed(bad('the state of the device is too large')));
        },
        closed: () => resolve(this.#restore(state.bytes)),
      });
    });
  }

  /** True when the last transfer did what it should, once it is over. */
  check(): Promise<boolean> {
    return this.#result;
  }

  /** Ends what is under way. */
  close(): void {
    this.#channel?.abort();
    this.#channel = undefined;
  }

  /** What was under way ends, and has failed until there is a result of this. */
  #begin(descriptor: Descriptor): Channel {
    this.close();
    this.#result = Promise.resolve(false);
    this.error = undefined;
    const channel = this.#host.openChannel(descriptor);
    this.#channel = channel;
    return channel;
  }

  #restore(bytes: Uint8Array): boolean {
    // A transfer that was given up.
    if (this.#channel === undefined) return false;
    this.close();
    try {
      restoreOwnState(this.#core, asOwnState(JSON.parse(decodeUtf8(bytes))));
      return true;
    } catch (error) {
      // Half a state is worse than none.
      this.#core.reset();
      return this.#failed(bad(`the state of the device cannot be taken: ${String(error)}`));
    }
  }

  #failed(error: VirtioError): false {
    this.error = error;
    this.close();
    return false;
  }
}

function asOwnState(value: unknown): DeviceOwnState {
  const { type, config, device } = Object(value);
  const { bytes, generation } = Object(config);
  if (
    !Array.isArray(bytes) ||
    !bytes.every(isByte) ||
    generation !== generation >>> 0 ||
    device === undefined
  ) {
    throw new UsageError('BAD_STATE', 'it is no state of a device');
  }
  return { type, config: { bytes, generation }, device };
}
