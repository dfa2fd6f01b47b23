import { expect, vi } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import type { Descriptor } from '../channel/descriptors.ts';
import { channelPair, InMemoryDescriptors } from '../channel/in-memory.ts';
import { MessageReader } from '../channel/message-reader.ts';
import { SharedMemory } from '../channel/shared-memory.ts';
import type { Device } from '../device/device.ts';
import type { VirtioError } from '../errors.ts';
import { joined } from '../spec/joined.ts';
import { status } from '../spec/status.ts';
import { msixSignals } from '../transports/pci/msix-table.ts';
import type { PciFunctionOptions } from '../transports/pci/options.ts';
import { sampleDevice } from '../transports/pci/pci.fixture.ts';
import { type CommonRegister, commonRegisters } from '../transports/pci/registers.ts';
import { VmmPciFunction } from '../transports/pci/vmm-function.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import { inOrder } from '../virtqueue/taken-order.ts';
import { encodeVersion } from './capabilities.ts';
import { type CommandName, commands, headerFlag, vfio_user_header } from './messages.ts';
import { VfioUserServer, type VfioUserServerOptions } from './server.ts';

/** A server over a device, its descriptors counted. */
export class Served {
  readonly descriptors: InMemoryDescriptors = new InMemoryDescriptors();
  readonly errors: VirtioError[] = [];
  /** What the function itself named. */
  readonly violations: VirtioError[] = [];
  readonly left: (VirtioError | undefined)[] = [];
  readonly server: VfioUserServer<VmmPciFunction>;
  readonly device: Device;

  constructor(
    of: Device = sampleDevice(),
    pciFunction: Partial<PciFunctionOptions> = {},
    options: (
      descriptors: InMemoryDescriptors,
    ) => Partial<VfioUserServerOptions<VmmPciFunction>> = () => ({}),
  ) {
    this.device = of;
    this.server = new VfioUserServer(
      {
        descriptors: this.descriptors,
        onError: (error) => void this.errors.push(error),
        onDisconnected: (error) => void this.left.push(error),
        ...options(this.descriptors),
      },
      (host) => {
        const onError = (error: VirtioError): void => void this.violations.push(error);
        return new VmmPciFunction(of, {
          ...host,
          msix: msixSignals(host.signalVector),
          packedRing,
          inOrder,
          onError,
          ...pciFunction,
        });
      },
    );
  }

  /** Takes the device through initialisation, past the client; its structures are in BAR 0. */
  go(): void {
    const set = (name: CommonRegister, value: number): void => {
      const { offset, width } = commonRegisters.register[name];
      this.server.pciFunction.regionWrite(0, offset, width, value);
    };
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
    set('device_status', ACKNOWLEDGE | DRIVER);
    set('driver_feature_select', 1);
    set('driver_feature', 1);
    set('device_status', ACKNOWLEDGE | DRIVER | FEATURES_OK);
    set('device_status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }

  /** Changes the device's configuration, of which the driver is notified. */
  change(): void {
    this.device.updateConfig({ short: 1 });
  }

  /** The client's end of a new connection. */
  connect(): Channel {
    const [theirs, ours] = channelPair();
    this.server.serve(theirs);
    return ours;
  }

  /** A client that has said its version. */
  async wire(): Promise<Wire> {
    const wire = new Wire(this.connect());
    await wire.ask('VERSION', encodeVersion({ max_msg_fds: 16, max_data_xfer_size: 4096 }));
    return wire;
  }

  sharedMemory(length = 2 ** 20): SharedMemory {
    return new SharedMemory(this.descriptors, length);
  }

  /** Nothing of a client is left: descriptors, mappings, watches. */
  async expectNothingLeft(): Promise<void> {
    await vi.waitFor(
      () => {
        const { open, mapped, watched } = this.descriptors;
        expect([this.server.connected, open, mapped, watched]).toEqual([false, 0, 0, 0]);
      },
      { interval: 1 },
    );
    expect(this.server.pciFunction.core.memory.regions).toEqual([]);
  }
}

/** One message as it came over the wire. */
export interface WireMessage {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly error: number;
  readonly payload: Uint8Array;
  readonly view: DataView;
  readonly descriptors: readonly Descriptor[];
}

/** The other end of a connection, which says what it is told, right or wrong. */
export class Wire {
  readonly messages: WireMessage[] = [];
  /** What is done about commands of the server. */
  answering: ((message: WireMessage) => void) | undefined;
  ended = false;
  readonly #channel: Channel;
  #id = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
    const reader = new MessageReader(
      { headerSize: 16, lengthOf: (header) => header.getUint32(4, true) },
      { message: (bytes, descriptors) => this.#heard(bytes, descriptors), broken: () => {} },
    );
    channel.listen({
      received: (bytes, descriptors) => reader.received(bytes, descriptors),
      closed: () => {
        this.ended = true;
      },
    });
  }

  /** Sends any bytes. */
  raw(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    this.#channel.send(bytes, descriptors);
  }

  /** Sends a command, which needs not be sound. */
  send(
    command: CommandName | number,
    payload: Uint8Array = new Uint8Array(0),
    options: {
      readonly descriptors?: readonly Descriptor[];
      readonly flags?: number;
      readonly size?: number;
      readonly id?: number;
    } = {},
  ): number {
    const { flags = 0, size = 16 + payload.length, descriptors = [], id = this.#id++ } = options;
    const cmd = typeof command === 'number' ? command : commands[command].id;
    this.raw(
      joined(vfio_user_header.encode({ msg_id: id, cmd, msg_size: size, flags }), payload),
      descriptors,
    );
    return id;
  }

  /** Sends a command and waits for what comes back. */
  async ask(...[command, payload, options]: Parameters<Wire['send']>): Promise<WireMessage> {
    const id = this.send(command, payload, options);
    return await vi.waitFor(() => {
      const found = this.messages.find((message) => message.id === id && message.flags !== 0);
      if (found === undefined) throw new Error(`no reply to ${command}`);
      return found;
    });
  }

  /** The errno that a command is refused with; 0 when it is not. */
  async refusal(...given: Parameters<Wire['send']>): Promise<number> {
    const { error, flags } = await this.ask(...given);
    expect((flags & headerFlag.ERROR) !== 0).toBe(error !== 0);
    return error;
  }

  close(): void {
    this.#channel.close();
  }

  #heard(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]): void {
    const header = vfio_user_header.read(new DataView(bytes.buffer));
    const payload = bytes.subarray(16);
    const message: WireMessage = {
      id: header.msg_id,
      command: header.cmd,
      flags: header.flags,
      error: header.error_no,
      payload,
      view: new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
      descriptors,
    };
    this.messages.push(message);
    if (message.flags === 0) this.answering?.(message);
  }
}
