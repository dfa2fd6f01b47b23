import type { Deviation } from 'virtio/driver';
import { UsageError } from 'virtio/errors';
import {
  type BarRoom,
  type LegacyPciTransport,
  type OpenPciOptions,
  openPci,
  type PciAccess,
  PciTransport,
} from 'virtio/transports/pci';
import { QemuMachine, type QemuOptions } from './machine.ts';
import { MessageBell } from './message-bell.ts';
import { QemuPciFunction } from './pci-access.ts';

/** The slot of the console that rings for MSI-X messages, and its character device. */
const bellSlot = 0x1d;
const bellName = 'virtio-bell';

/** Offset of emerg_wr in a console's configuration, in bytes. */
const emergencyWrite = 8;

/** Where BARs are placed: each slot has a part of the room below 4 GiB, and of the ports. */
const memoryRoom = { start: 0xe000_0000, length: 0x10_0000 } as const;
const ioRoom = { start: 0xc000, length: 0x100 } as const;

/** Registers of the PC's interrupt router, and the lines that we have its four inputs lead to. */
const pcRouter = { slot: 1, registers: 0x60, lines: [5, 7, 10, 11] } as const;

/** What QEMU's devices do otherwise than the specification has it, and our drivers put up with. */
export const qemuDeviations: readonly Deviation[] = ['USED_LENGTH_WITHOUT_WRITE'];

export interface QemuPciOptions extends Omit<QemuOptions, 'board'> {
  readonly board: 'pc' | 'q35';
}

/** A PC of QEMU's, for drivers of what is on its PCI bus. */
export class QemuPciMachine {
  readonly machine: QemuMachine;
  readonly #board: 'pc' | 'q35';
  #bell: MessageBell | undefined;

  private constructor(machine: QemuMachine, board: 'pc' | 'q35') {
    this.machine = machine;
    this.#board = board;
  }

  /**
   * Starts QEMU. Devices in `args` must name their slot, such as `addr=4`; slots 3 to 28 are free. Slots that differ by
   * less than four have interrupt lines of their own.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start.
   */
  static async start(options: QemuPciOptions): Promise<QemuPciMachine> {
    const bell = [
      ...[
        '-device',
        `virtio-serial-pci,id=${bellName},addr=0x${bellSlot.toString(16)},disable-legacy=on,vectors=0`,
      ],
      ...['-device', `virtconsole,bus=${bellName}.0,chardev=${bellName}`],
    ];
    const machine = await QemuMachine.start({
      ...options,
      sockets: [...(options.sockets ?? []), bellName],
      args: [...bell, ...(options.args ?? [])],
    });
    try {
      const pci = new QemuPciMachine(machine, options.board);
      if (options.board === 'pc') await pci.#routeInterrupts();
      pci.#bell = await pci.#findBell();
      return pci;
    } catch (error) {
      await machine.close();
      throw error;
    }
  }

  /** The function in a slot, and room for its BARs. */
  function(slot: number): { readonly access: PciAccess; readonly room: BarRoom } {
    if (!(slot > 0) || slot > 0x1f) throw new UsageError('BAD_ARGUMENT', `there is no PCI slot ${slot}`);
    return {
      access: this.#functionIn(slot),
      room: {
        memory: { ...memoryRoom, start: memoryRoom.start + slot * memoryRoom.length },
        io: { ...ioRoom, start: ioRoom.start + slot * ioRoom.length },
      },
    };
  }

  /** A transport to the virtio function in a slot: by its modern interface if it has one, unless told. */
  open(slot: number, options: OpenPciOptions = {}): Promise<PciTransport | LegacyPciTransport> {
    const { access, room } = this.function(slot);
    return openPci(access, { room, deviations: qemuDeviations, ...options });
  }

  close(): Promise<void> {
    return this.machine.close();
  }

  #functionIn(slot: number): QemuPciFunction {
    return new QemuPciFunction(this.machine, slot, this.#lineOf(slot), this.#bell);
  }

  /** The interrupt line of a slot's INTA#, as each board wires its slots. */
  #lineOf(slot: number): number {
    if (this.#board === 'q35') return 20 + (slot % 4);
    return pcRouter.lines[(slot - 1) % 4] ?? 0;
  }

  /** What a PC's firmware would do. */
  async #routeInterrupts(): Promise<void> {
    const router = new QemuPciFunction(this.machine, pcRouter.slot, 0, undefined);
    for (const [at, line] of pcRouter.lines.entries())
      await router.configWrite(pcRouter.registers + at, 1, line);
  }

  async #findBell(): Promise<MessageBell> {
    const access = this.#functionIn(bellSlot);
    const { room } = this.function(bellSlot);
    const { device } = (await PciTransport.open(access, { room, vectors: 0 })).capabilities;
    const register = device && access.addressOf(device) + emergencyWrite;
    return MessageBell.at(register, await this.machine.socket(bellName));
  }
}
