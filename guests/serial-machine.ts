import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { V86 } from 'v86';
import { type GuestFiles, guestCommandLine, serialControl } from 'virtio-node/guests';
import { reloadOnReboot } from 'virtio-v86';

/** A plain v86 machine with a Debian guest that talks on its first serial port: none of our devices is in it. */
export class SerialMachine {
  readonly #emulator: V86;
  #output = '';
  #waiting: (() => void)[] = [];

  private constructor(emulator: V86) {
    this.#emulator = emulator;
    emulator.add_listener('serial0-output-byte', (byte) => {
      this.#output += String.fromCharCode(byte);
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  static async start(guest: GuestFiles): Promise<SerialMachine> {
    const library = dirname(createRequire(import.meta.url).resolve('v86'));
    const image = async (path: string): Promise<{ buffer: ArrayBuffer }> => ({
      buffer: new Uint8Array(await readFile(path)).buffer,
    });
    const emulator = new V86({
      wasm_path: join(library, 'v86.wasm'),
      memory_size: 256 << 20,
      bios: await image(guest.bios),
      vga_bios: await image(guest.vgaBios),
      bzimage: await image(guest.bzimage),
      initrd: await image(guest.initrd),
      cmdline: `${guestCommandLine} ${serialControl}`,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
    });
    const machine = new SerialMachine(emulator);
    await reloadOnReboot(emulator);
    await emulator.run();
    return machine;
  }

  /** Sends bytes to the guest's serial port. */
  send(bytes: Uint8Array | string): void {
    this.#emulator.serial_send_bytes(0, Buffer.from(bytes));
  }

  /**
   * Waits until the guest has written this and answers its output up to there, which is then forgotten. A guest
   * that is silent for two minutes fails the test, with what it said last.
   */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match) {
        const end = match.index + match[0].length;
        const output = this.#output.slice(0, end);
        this.#output = this.#output.slice(end);
        return output;
      }
      await new Promise<void>((resolve, reject) => {
        const last = this.#output.slice(-1000);
        const silence = setTimeout(() => reject(new Error(`waited for ${pattern} after: ${last}`)), 120_000);
        this.#waiting.push(() => {
          clearTimeout(silence);
          resolve();
        });
      });
    }
  }

  async stop(): Promise<void> {
    await this.#emulator.destroy();
  }
}
