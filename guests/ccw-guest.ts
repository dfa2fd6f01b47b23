import { readFile } from 'node:fs/promises';
import type { Device } from 'virtio/device';
import type { VirtioError } from 'virtio/errors';
import type { CcwDeviceOptions } from 'virtio/transports/ccw';
import { guestFiles, type ProgressEvent } from 'virtio-node/guests';
import { QemuCcwHost } from 'virtio-node/qemu';
import { ConsoleSession, type SessionOptions } from './console-session.ts';
import { qemu } from './qemu-machine.ts';

/** How a device is put behind Channel I/O. */
export type Presentation = Pick<CcwDeviceOptions, 'devno' | 'revision' | 'legacy' | 'adapterInterrupts'>;

export interface CcwGuestOptions extends SessionOptions {
  /** How the console is presented. */
  readonly presentConsole: Presentation;
  /** The devices behind it. */
  readonly devices: readonly (readonly [Device, Presentation])[];
}

const commandLine = 'console=ttysclp0 nokaslr mitigations=off cryptomgr.notests';

/**
 * The guest's time goes by instructions, 4 ns each: on a machine with much else to do it would do little but take timer
 * interruptions otherwise.
 */
const time = ['-icount', 'shift=2'];

/** A machine of QEMU's with Debian's s390x kernel, with a balloon of QEMU's own and our devices behind it. */
export class CcwGuest extends ConsoleSession {
  readonly host: QemuCcwHost;
  /** What the devices complained of from the beginning. */
  readonly complaints: VirtioError[] = [];

  private constructor(host: QemuCcwHost, options: CcwGuestOptions) {
    super(options);
    this.host = host;
    for (const [device, presentation] of [
      [this.console, options.presentConsole] as const,
      ...options.devices,
    ]) {
      host.add(device, { ...presentation, onError: (error) => void this.complaints.push(error) });
    }
  }

  /** A machine whose guest waits for commands. */
  static async boot(options: CcwGuestOptions): Promise<CcwGuest> {
    const progress = ({ step, detail }: ProgressEvent): void =>
      void process.stderr.write(`${step} ${detail}\n`);
    const files = await guestFiles({ machine: 'qemu-s390x', modules: ['virtio_balloon'], progress });
    const host = await QemuCcwHost.start({
      tool: await qemu('qemu-s390x'),
      kernel: await readFile(files.kernel),
      initrd: await readFile(files.initrd),
      append: commandLine,
      memory: 256 << 20,
      sockets: ['operator'],
      args: [
        ...time,
        ...['-device', 'sclpconsole,chardev=operator'],
        ...['-device', 'virtio-balloon-ccw,devno=fe.0.0001'],
      ],
      ownSubchannels: 1,
    });
    try {
      const guest = new CcwGuest(host, options);
      const operator = await host.machine.socket('operator');
      operator.on('data', (bytes) => guest.heard(bytes.toString('latin1')));
      operator.on('error', () => {}); // the machine tells that QEMU is gone
      host.run().catch((error: Error) => guest.failed(error));
      await guest.ready();
      return guest;
    } catch (error) {
      await host.close();
      throw error;
    }
  }

  /** How often Linux was interrupted by virtio devices so far, by the kind of interruption. */
  async interrupts(): Promise<{ readonly classic: number; readonly adapter: number }> {
    const counts = (await this.text(`awk '/^(VIR|VAI):/ { print $2 }' /proc/interrupts`)).split('\n');
    const [classic = Number.NaN, adapter = Number.NaN] = counts.map(Number);
    return { classic, adapter };
  }

  stop(): Promise<void> {
    return this.host.close();
  }
}
