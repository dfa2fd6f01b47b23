import type { NotificationListener, Transport } from '../driver/transport.ts';
import type { FeatureSet } from '../spec/features.ts';
import type { QueueAreas } from '../virtqueue/queue.ts';
import { TransportProxy } from './transport-proxy.ts';

/** One thing that a driver did to its transport, or that its transport told it. */
export type DriverAct =
  | { readonly act: 'readDeviceFeatures'; readonly features: FeatureSet }
  | { readonly act: 'writeDriverFeatures'; readonly features: FeatureSet }
  | { readonly act: 'readStatus'; readonly value: number }
  | { readonly act: 'writeStatus'; readonly value: number }
  | { readonly act: 'configGeneration'; readonly value: number }
  | { readonly act: 'readConfig'; readonly offset: number; readonly length: number }
  | { readonly act: 'writeConfig'; readonly offset: number; readonly length: number }
  | { readonly act: 'queueMaxSize'; readonly index: number; readonly value: number }
  | { readonly act: 'enableQueue'; readonly index: number; readonly areas: QueueAreas }
  | { readonly act: 'resetQueue'; readonly index: number }
  | { readonly act: 'kick'; readonly index: number; readonly data: number | undefined }
  | { readonly act: 'usedBuffer'; readonly index: number | undefined }
  | { readonly act: 'configChange' }
  | { readonly act: 'close' };

/** The acts of one kind. */
export type ActOf<K extends DriverAct['act']> = Extract<DriverAct, { readonly act: K }>;

/** A transport that writes down all that a driver does, in order. Reads stand where their answer came. */
export class Recorder extends TransportProxy {
  readonly acts: DriverAct[] = [];
  readonly #onAct: (act: DriverAct) => void;
  readonly #onKicked: () => void;

  /** `onAct` sees each act as it happens: kicks before the device does. `onKicked` is called when it has. */
  constructor(inner: Transport, onAct: (act: DriverAct) => void = () => {}, onKicked: () => void = () => {}) {
    super(inner);
    this.#onAct = onAct;
    this.#onKicked = onKicked;
  }

  /** The acts of one kind, in order. */
  of<K extends DriverAct['act']>(kind: K): ActOf<K>[] {
    return this.acts.filter((act): act is ActOf<K> => act.act === kind);
  }

  override async readDeviceFeatures(): Promise<FeatureSet> {
    const features = await super.readDeviceFeatures();
    this.#record({ act: 'readDeviceFeatures', features });
    return features;
  }

  override writeDriverFeatures(features: FeatureSet): Promise<void> {
    this.#record({ act: 'writeDriverFeatures', features });
    return super.writeDriverFeatures(features);
  }

  override async readStatus(): Promise<number> {
    const value = await super.readStatus();
    this.#record({ act: 'readStatus', value });
    return value;
  }

  override writeStatus(value: number): Promise<void> {
    this.#record({ act: 'writeStatus', value });
    return super.writeStatus(value);
  }

  override async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const bytes = await super.readConfig(offset, length);
    this.#record({ act: 'readConfig', offset, length });
    return bytes;
  }

  override writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    this.#record({ act: 'writeConfig', offset, length: bytes.length });
    return super.writeConfig(offset, bytes);
  }

  override async configGeneration(): Promise<number> {
    const value = await super.configGeneration();
    this.#record({ act: 'configGeneration', value });
    return value;
  }

  override async queueMaxSize(index: number): Promise<number> {
    const value = await super.queueMaxSize(index);
    this.#record({ act: 'queueMaxSize', index, value });
    return value;
  }

  override enableQueue(index: number, areas: QueueAreas): Promise<void> {
    this.#record({ act: 'enableQueue', index, areas });
    return super.enableQueue(index, areas);
  }

  override resetQueue(index: number): Promise<void> {
    this.#record({ act: 'resetQueue', index });
    return super.resetQueue(index);
  }

  override kick(index: number, data: number | undefined): void {
    this.#record({ act: 'kick', index, data });
    super.kick(index, data);
    this.#onKicked();
  }

  override listen(listener: NotificationListener | undefined): void {
    super.listen(
      listener && {
        usedBuffer: (index) => {
          this.#record({ act: 'usedBuffer', index });
          listener.usedBuffer(index);
        },
        configChange: () => {
          this.#record({ act: 'configChange' });
          listener.configChange();
        },
        gone: (error) => listener.gone?.(error),
      },
    );
  }

  override close(): Promise<void> {
    this.#record({ act: 'close' });
    return super.close();
  }

  #record(act: DriverAct): void {
    this.acts.push(act);
    this.#onAct(act);
  }
}
