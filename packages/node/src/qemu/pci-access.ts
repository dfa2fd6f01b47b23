import { UsageError } from 'virtio/errors';
import type { Allocator, GuestMemory } from 'virtio/memory';
import type { AccessWidth, AssignedBar, PciAccess, PciMessage } from 'virtio/transports/pci';
import type { QemuMachine } from './machine.ts';
import type { MessageBell } from './message-bell.ts';

/** PCI configuration mechanism 1: the address of a register, and the register itself. */
const configAddress = 0xcf8;
const configData = 0xcfc;
const configEnable = 0x8000_0000;

/** One PCI function of QEMU's, on the first bus. */
export class QemuPciFunction implements PciAccess {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly #machine: QemuMachine;
  readonly #slot: number;
  readonly #line: number;
  readonly #bell: MessageBell | undefined;
  readonly #bars = new Map<number, AssignedBar>();

  /** `line` is the interrupt line that its INTA# leads to. */
  constructor(machine: QemuMachine, slot: number, line: number, bell: MessageBell | undefined) {
    this.#machine = machine;
    this.#slot = slot;
    this.#line = line;
    this.#bell = bell;
    this.memory = machine.memory;
    this.allocator = machine.allocator;
  }

  configRead(offset: number, width: AccessWidth): Promise<number> {
    this.#select(offset);
    return this.#machine.qtest.in(configData + (offset & 3), width);
  }

  configWrite(offset: number, width: AccessWidth, value: number): Promise<void> {
    this.#select(offset);
    return this.#machine.qtest.out(configData + (offset & 3), width, value);
  }

  barRead(index: number, offset: number, width: AccessWidth): Promise<number> {
    const { kind, address } = this.#bar(index);
    const { qtest } = this.#machine;
    return kind === 'io' ? qtest.in(address + offset, width) : qtest.read(address + offset, width);
  }

  barWrite(index: number, offset: number, width: AccessWidth, value: number): Promise<void> {
    const { kind, address } = this.#bar(index);
    const { qtest } = this.#machine;
    return kind === 'io'
      ? qtest.out(address + offset, width, value)
      : qtest.write(address + offset, width, value);
  }

  barWriteNow(index: number, offset: number, width: AccessWidth, value: number): void {
    this.barWrite(index, offset, width, value).catch(() => {}); // whoever listens hears that QEMU is gone
  }

  async barAssigned(bar: AssignedBar): Promise<void> {
    this.#bars.set(bar.index, bar);
  }

  listenLine(handler: (() => void) | undefined): void {
    this.#machine.listenLine(this.#line, handler);
  }

  async allocateMessage(handler: () => void): Promise<PciMessage | undefined> {
    return this.#bell?.allocate(handler);
  }

  listenGone(handler: (error: Error) => void): void {
    this.#machine.listenGone(handler);
  }

  /** The guest address, or the port, of what lies behind a BAR that was placed. */
  addressOf(place: { readonly bar: number; readonly offset: number }): number {
    return this.#bar(place.bar).address + place.offset;
  }

  /** Two requests that nothing can come between: they are sent in one turn. */
  #select(offset: number): void {
    const address = (configEnable | (this.#slot << 11) | (offset & 0xfc)) >>> 0;
    this.#machine.qtest.out(configAddress, 4, address).catch(() => {}); // the next request fails as well
  }

  #bar(index: number): AssignedBar {
    const bar = this.#bars.get(index);
    if (bar !== undefined) return bar;
    throw new UsageError('BAD_STATE', `BAR ${index} was not placed: open the transport with this bus's room`);
  }
}
