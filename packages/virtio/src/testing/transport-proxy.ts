import type { Deviation, LegacyTransport, NotificationListener, Transport } from '../driver/transport.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { FeatureSet, ReservedFeatureName } from '../spec/features.ts';
import type { QueueAreas } from '../virtqueue/queue.ts';

/** A transport in front of another one: what a subclass does not touch goes through unchanged. */
export class TransportProxy implements Transport {
  protected readonly inner: Transport;

  constructor(inner: Transport) {
    this.inner = inner;
  }

  get deviceId(): number {
    return this.inner.deviceId;
  }

  get memory(): GuestMemory {
    return this.inner.memory;
  }

  get allocator(): Allocator {
    return this.inner.allocator;
  }

  get carries(): readonly ReservedFeatureName[] {
    return this.inner.carries;
  }

  get legacy(): LegacyTransport | undefined {
    return this.inner.legacy;
  }

  get deviations(): readonly Deviation[] | undefined {
    return this.inner.deviations;
  }

  get statusIsWriteOnly(): boolean {
    return this.inner.statusIsWriteOnly === true;
  }

  readDeviceFeatures(): Promise<FeatureSet> {
    return this.inner.readDeviceFeatures();
  }

  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.inner.writeDriverFeatures(features);
  }

  readStatus(): Promise<number> {
    return this.inner.readStatus();
  }

  writeStatus(value: number): Promise<void> {
    return this.inner.writeStatus(value);
  }

  readConfig(offset: number, length: number): Promise<Uint8Array> {
    return this.inner.readConfig(offset, length);
  }

  writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    return this.inner.writeConfig(offset, bytes);
  }

  configGeneration(): Promise<number> {
    return this.inner.configGeneration();
  }

  queueMaxSize(index: number): Promise<number> {
    return this.inner.queueMaxSize(index);
  }

  enableQueue(index: number, areas: QueueAreas): Promise<void> {
    return this.inner.enableQueue(index, areas);
  }

  resetQueue(index: number): Promise<void> {
    return this.inner.resetQueue(index);
  }

  kick(index: number, data: number | undefined): void {
    this.inner.kick(index, data);
  }

  listen(listener: NotificationListener | undefined): void {
    this.inner.listen(listener);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
