import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { V86, type V86Options } from 'v86';
import type { Device, Tracer } from 'virtio/device';
import { guestCommandLine, guestFiles, mmioGuest, withAcpiTables } from 'virtio-node/guests';
import { type Attachment, attach, type Bus, mmioTable, pci, reloadOnReboot } from 'virtio-v86';
import { ConsoleSession, type SessionOptions } from './console-session.ts';

/** What a test machine has beside a console. */
export interface MachineOptions extends SessionOptions {
  /** Where all devices are; modern PCI unless told. */
  readonly bus?: Bus;
  /** Attached behind the console, in this order. */
  readonly devices?: readonly Device[];
  /** Kernel modules in the guest beside those it loads at boot. */
  readonly modules?: readonly string[];
  /** Debian packages whose programs the guest has. */
  readonly programs?: readonly string[];
  /** Added to the kernel's command line. */
  readonly append?: string;
  /** What v86 is told beside the guest's files. */
  readonly v86?: Partial<V86Options>;
  readonly trace?: Tracer;
}

/**
 * A v86 machine with Debian's kernel and our devices. Before its guest is ready, SeaBIOS drives the disk: it sets ACKNOWLEDGE
 * and DRIVER in one write, and `errors` begin behind that.
 */
export class Machine extends ConsoleSession {
  readonly emulator: V86;
  readonly attachments: readonly Attachment[];

  private constructor(emulator: V86, options: MachineOptions) {
    super(options);
    this.emulator = emulator;
    emulator.add_listener('serial0-output-byte', (byte) => this.heard(String.fromCharCode(byte)));
    this.attachments = [this.console, ...(options.devices ?? [])].map((device) =>
      attach(emulator, device, {
        bus: options.bus ?? pci(),
        onError: (error) => void this.errors.push(error),
        ...(options.trace === undefined ? {} : { trace: options.trace }),
      }),
    );
  }

  /** A machine that stands before its first instruction. */
  static async create(options: MachineOptions = {}): Promise<Machine> {
    const guest = await guestFiles({
      modules: options.modules ?? [],
      programs: options.programs ?? [],
      progress: ({ step, detail }) => void process.stderr.write(`${step} ${detail}\n`),
    });
    const library = dirname(createRequire(import.meta.url).resolve('v86'));
    const image = async (path: string): Promise<{ buffer: ArrayBuffer }> => ({
      buffer: new Uint8Array(await readFile(path)).buffer,
    });
    const mmio = isMmio(options);
    const emulator = new V86({
      wasm_path: join(library, 'v86.wasm'),
      memory_size: 256 << 20,
      vga_memory_size: 1 << 20,
      bios: await image(guest.bios),
      vga_bios: await image(guest.vgaBios),
      bzimage: await image(guest.bzimage),
      initrd: mmio ? await withWindows(guest.initrd, options) : await image(guest.initrd),
      cmdline: [guestCommandLine, ...(mmio ? [mmioGuest] : []), options.append ?? ''].join(' '),
      acpi: mmio,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      ...options.v86,
    });
    const machine = new Machine(emulator, options);
    await Promise.all([reloadOnReboot(emulator), ...machine.attachments.map(({ ready }) => ready)]);
    return machine;
  }

  /** A machine whose guest waits for commands. */
  static async boot(options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.create(options);
    const ready = machine.ready();
    await machine.emulator.run();
    await ready;
    return machine;
  }

  /** A machine of these options that goes on from a saved state. */
  static async resume(state: ArrayBuffer, options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.create(options);
    await machine.emulator.restore_state(state.slice(0));
    await machine.emulator.run();
    return machine;
  }

  async stop(): Promise<void> {
    await this.emulator.stop();
    for (const attachment of this.attachments) attachment.detach();
    await this.emulator.destroy();
  }
}

function isMmio({ bus }: MachineOptions): boolean {
  return bus?.name.startsWith('mmio') === true;
}

/** The initramfs, and ahead of it the table that tells of a window for each device. */
async function withWindows(
  initrd: string,
  { devices = [] }: MachineOptions,
): Promise<{ buffer: ArrayBuffer }> {
  const tables = [{ name: 'windows', data: mmioTable(1 + devices.length) }];
  return { buffer: new Uint8Array(withAcpiTables(tables, await readFile(initrd))).buffer };
}
