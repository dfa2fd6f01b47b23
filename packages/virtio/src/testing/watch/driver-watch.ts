import type { Transport } from '../../driver/transport.ts';
import { reservedFeatures } from '../../spec/features.ts';
import { type DriverAct, Recorder } from '../recorder.ts';
import type { RingFinding, RingWatch, WatchOptions } from './finding.ts';
import { PackedWatch } from './packed-watch.ts';
import { SplitWatch } from './split-watch.ts';

/**
 * A transport that reads the driver's rings at each of its steps, and writes down all that it does. What it
 * finds is named by clause.
 */
export class DriverWatch {
  readonly recorder: Recorder;
  readonly #watches = new Map<number, RingWatch>();
  readonly #finished: RingWatch[] = [];
  readonly #findings: RingFinding[] = [];
  #options: WatchOptions = { packed: false, eventIdx: false, indirect: false, inOrder: false };
  #sendsData = false;

  constructor(inner: Transport) {
    // A device in the same process may use buffers within the kick, and the driver may put new ones in their place
    // before its next step.
    this.recorder = new Recorder(
      inner,
      (act) => this.#step(act),
      () => this.#look(),
    );
  }

  /** What the driver is given. */
  get transport(): Transport {
    return this.recorder;
  }

  get findings(): readonly RingFinding[] {
    return [...this.#findings, ...this.#all().flatMap((watch) => watch.findings)];
  }

  /** Buffers offered over all queues so far. */
  get buffers(): number {
    return this.#all().reduce((sum, watch) => sum + watch.seen, 0);
  }

  #all(): RingWatch[] {
    return [...this.#finished, ...this.#watches.values()];
  }

  #step(act: DriverAct): void {
    if (act.act === 'writeDriverFeatures') {
      const bit = (name: keyof typeof reservedFeatures): boolean => act.features.has(reservedFeatures[name]);
      this.#options = {
        packed: bit('RING_PACKED'),
        eventIdx: bit('EVENT_IDX'),
        indirect: bit('INDIRECT_DESC'),
        inOrder: bit('IN_ORDER'),
        endian: this.recorder.legacy?.endian ?? 'little',
      };
      this.#sendsData = bit('NOTIFICATION_DATA');
    }
    this.#look();
    if (act.act === 'enableQueue') {
      const { memory } = this.recorder;
      const watch = this.#options.packed
        ? new PackedWatch(memory, act.areas, this.#options)
        : new SplitWatch(memory, act.areas, this.#options);
      this.#watches.set(act.index, watch);
    }
    if (act.act === 'kick') this.#checkKick(act.index, act.data);
    if (act.act === 'resetQueue') this.#retire(act.index);
    if (act.act === 'writeStatus' && act.value === 0) {
      for (const index of [...this.#watches.keys()]) this.#retire(index);
    }
  }

  #look(): void {
    for (const watch of this.#watches.values()) watch.look();
  }

  #checkKick(index: number, data: number | undefined): void {
    const expected = this.#sendsData ? this.#watches.get(index)?.expectedData() : undefined;
    if (data === expected) return;
    this.#findings.push({
      clause:
        'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
      message: `the notification carries ${data}, not ${expected}`,
    });
  }

  #retire(index: number): void {
    const watch = this.#watches.get(index);
    if (watch === undefined) return;
    this.#finished.push(watch);
    this.#watches.delete(index);
  }
}
