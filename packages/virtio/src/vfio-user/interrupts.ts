import type { Descriptor, EventHost } from '../channel/descriptors.ts';
import { type Answer, type Command, refuse } from './command.ts';
import {
  irq,
  irqActionMask,
  irqCount,
  irqDataMask,
  irqFlag,
  irqSetFlag,
  vfio_irq_info,
  vfio_irq_set,
} from './messages.ts';

/** The interrupts of one kind. */
interface Kind {
  readonly flags: number;
  /** What the client listens to. */
  readonly events: (Descriptor | undefined)[];
  readonly masked: boolean[];
}

const none: Kind = { flags: 0, events: [], masked: [] };

const kind = (count: number, flags: number): Kind => ({
  flags: irqFlag.EVENTFD | flags,
  events: Array.from({ length: count }, () => undefined),
  masked: Array.from({ length: count }, () => false),
});

/** How a function's interrupts reach the client: by events that it gave. */
export class VfioInterrupts {
  readonly #host: EventHost;
  readonly #kinds: readonly Kind[];
  readonly #ready: () => void;
  /** Watches of events by which the client masks INTx and unmasks it. */
  readonly #stops = new Map<number, () => void>();
  #level = false;

  /** `vectors` of MSI-X; `ready` is called when vectors can be signalled that could not be before. */
  constructor(
    host: EventHost,
    counts: { readonly lines: number; readonly vectors: number },
    ready: () => void,
  ) {
    this.#host = host;
    this.#ready = ready;
    const kinds = Array.from({ length: irqCount }, () => none);
    kinds[irq.INTX] = kind(counts.lines, irqFlag.MASKABLE | irqFlag.AUTOMASKED);
    kinds[irq.MSIX] = kind(counts.vectors, irqFlag.MASKABLE);
    kinds[irq.ERR] = kind(1, 0);
    kinds[irq.REQ] = kind(1, 0);
    this.#kinds = kinds;
  }

  /** The line is a level; its event is signalled once, and again when the client unmasks it while the level is up. */
  setLine(level: boolean): void {
    this.#level = level;
    this.#raise();
  }

  /** False where nobody listens to the vector now. */
  signalVector(vector: number): boolean {
    return this.#signal(irq.MSIX, vector);
  }

  /** Tells a client that listens: of an error that nothing recovers from, or that it shall let the device go. */
  tell(index: typeof irq.ERR | typeof irq.REQ): boolean {
    return this.#signal(index, 0);
  }

  info(command: Command): Answer {
    const { argsz, index } = command.read(vfio_irq_info);
    if (argsz < vfio_irq_info.size) refuse('EINVAL', `argsz is ${argsz}, fewer than ${vfio_irq_info.size}`);
    const { flags, events } = this.#kind(index);
    return {
      payload: [vfio_irq_info.encode({ argsz: vfio_irq_info.size, flags, index, count: events.length })],
    };
  }

  set(command: Command): Answer {
    const { flags, index, start, count } = command.read(vfio_irq_set);
    const { events } = this.#kind(index);
    const data = flags & irqDataMask;
    const action = flags & irqActionMask;
    const hasOne = (value: number): boolean => value !== 0 && (value & (value - 1)) === 0;
    if (!hasOne(data) || !hasOne(action) || flags >= 0x40)
      refuse('EINVAL', `the flags are 0x${flags.toString(16)}`);
    if (start + count > events.length) {
      refuse(
        'EINVAL',
        `interrupts ${start} to ${start + count} of kind ${index}, of which there are ${events.length}`,
      );
    }
    const expected = data === irqSetFlag.DATA_BOOL ? count : 0;
    const found = command.length - vfio_irq_set.size;
    if (found !== expected) refuse('EINVAL', `${found} bytes of data for ${expected} interrupts`);
    if (count === 0) this.#disable(index, start, flags);
    else if (data === irqSetFlag.DATA_EVENTFD) this.#bind(command, index, start, count, action);
    else if (command.descriptors > 0) refuse('EINVAL', 'descriptors came, and no interrupt is for them');
    else this.#act(command, index, start, count, action, data === irqSetFlag.DATA_BOOL);
    return {};
  }

  /** The client is gone. */
  clear(): void {
    for (const [index, { events }] of this.#kinds.entries()) this.#forget(index, 0, events.length);
  }

  #kind(index: number): Kind {
    return this.#kinds[index] ?? refuse('EINVAL', `there is no kind ${index} of interrupts`);
  }

  /** No interrupt at all is named to switch off all of a kind. */
  #disable(index: number, start: number, flags: number): void {
    if (start !== 0 || flags !== (irqSetFlag.DATA_NONE | irqSetFlag.ACTION_TRIGGER)) {
      refuse('EINVAL', 'no interrupts were named');
    }
    this.#forget(index, 0, this.#kind(index).events.length);
  }

  /** Takes events, one for each interrupt, or none, which takes those away that were there. */
  #bind(command: Command, index: number, start: number, count: number, action: number): void {
    if (command.descriptors !== 0 && command.descriptors !== count) {
      refuse('EINVAL', `${command.descriptors} descriptors came for ${count} interrupts`);
    }
    if (action !== irqSetFlag.ACTION_TRIGGER) {
      if (index !== irq.INTX) refuse('EINVAL', `interrupts of kind ${index} are not masked by events`);
      this.#watch(action, command.take(0));
      return;
    }
    this.#unbind(index, start, count);
    const { events } = this.#kind(index);
    for (let i = 0; i < count && command.descriptors > 0; i++) events[start + i] = command.take(i);
    this.#changed(index);
  }

  /** Signals of the event mask the line, or unmask it, as a message would. */
  #watch(action: number, event: Descriptor | undefined): void {
    this.#stops.get(action)?.();
    if (event === undefined) return;
    try {
      const stop = this.#host.watch(event, () => {
        this.#mask(irq.INTX, 0, action === irqSetFlag.ACTION_MASK);
        this.#changed(irq.INTX);
      });
      this.#stops.set(action, () => {
        stop();
        event.close();
        this.#stops.delete(action);
      });
    } catch (error) {
      event.close();
      refuse('EINVAL', error instanceof Error ? error.message : String(error));
    }
  }

  #act(command: Command, index: number, start: number, count: number, action: number, some: boolean): void {
    const isTrigger = action === irqSetFlag.ACTION_TRIGGER;
    if (!isTrigger && (this.#kind(index).flags & irqFlag.MASKABLE) === 0) {
      refuse('EINVAL', `interrupts of kind ${index} cannot be masked`);
    }
    const wanted = some ? command.data(vfio_irq_set.size) : undefined;
    for (let i = 0; i < count; i++) {
      if (wanted?.[i] === 0) continue;
      const event = this.#kind(index).events[start + i];
      if (!isTrigger) this.#mask(index, start + i, action === irqSetFlag.ACTION_MASK);
      else if (event !== undefined) this.#host.signal(event);
    }
    this.#changed(index);
  }

  #mask(index: number, at: number, masked: boolean): void {
    const { masked: all } = this.#kind(index);
    if (at < all.length) all[at] = masked;
  }

  /** Events or masks have changed: what waited for them goes out. */
  #changed(index: number): void {
    if (index === irq.INTX) this.#raise();
    if (index === irq.MSIX) this.#ready();
  }

  #raise(): void {
    if (!this.#level || !this.#signal(irq.INTX, 0)) return;
    this.#mask(irq.INTX, 0, true);
  }

  #signal(index: number, at: number): boolean {
    const one = this.#kinds[index];
    const event = one?.events[at];
    if (event === undefined || one?.masked[at] === true) return false;
    this.#host.signal(event);
    return true;
  }

  #unbind(index: number, start: number, count: number): void {
    const { events } = this.#kind(index);
    for (let i = start; i < start + count; i++) {
      events[i]?.close();
      events[i] = undefined;
    }
  }

  /** As before the client had said anything. */
  #forget(index: number, start: number, count: number): void {
    this.#unbind(index, start, count);
    this.#kind(index).masked.fill(false, start, start + count);
    if (index === irq.INTX) for (const stop of [...this.#stops.values()]) stop();
  }
}
