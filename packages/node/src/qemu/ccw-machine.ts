import { UsageError } from 'virtio/errors';
import {
  CcwTransport,
  type CcwTransportOptions,
  type ChannelIo,
  type FoundCcwDevice,
  findCcwDevices,
} from 'virtio/transports/ccw';
import { QemuMachine, type QemuOptions } from './machine.ts';
import { qemuDeviations } from './pci-machine.ts';
import { monitorImage } from './s390/monitor.ts';
import { MonitorIo } from './s390/monitor-io.ts';

/** The operator's console, which rings when the monitor has something to tell. */
const bellName = 'virtio-bell';

export type QemuCcwOptions = Omit<QemuOptions, 'board' | 'kernel'>;

/** An s390x machine of QEMU's, for drivers of the virtio devices in its channel subsystem. Its processor runs our monitor. */
export class QemuCcwMachine {
  readonly machine: QemuMachine;
  /** The machine's I/O instructions. */
  readonly io: ChannelIo;
  /** What was found when it started. */
  readonly devices: readonly FoundCcwDevice[];

  private constructor(machine: QemuMachine, io: ChannelIo, devices: readonly FoundCcwDevice[]) {
    this.machine = machine;
    this.io = io;
    this.devices = devices;
  }

  /**
   * Starts QEMU, and looks at what there is. Devices in `args` should name their device number, such as
   * `devno=fe.0.1000`.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start.
   */
  static async start(options: QemuCcwOptions): Promise<QemuCcwMachine> {
    const machine = await QemuMachine.start({
      ...options,
      board: 's390-ccw-virtio',
      kernel: monitorImage(),
      sockets: [...(options.sockets ?? []), bellName],
      args: ['-device', `sclpconsole,chardev=${bellName}`, ...(options.args ?? [])],
    });
    try {
      const io = new MonitorIo(machine.memory, machine.allocator, () => {
        machine.qmp.execute('inject-nmi').catch((error: Error) => io.fail(error));
      });
      machine.listenGone((error) => io.fail(error));
      const bell = await machine.socket(bellName);
      bell.on('data', () => io.collect());
      bell.on('error', () => {}); // the machine tells that QEMU is gone
      return new QemuCcwMachine(machine, io, await findCcwDevices(io));
    } catch (error) {
      await machine.close();
      throw error;
    }
  }

  /** A transport to the virtio device with a device number. */
  open(devno: number, options: CcwTransportOptions = {}): Promise<CcwTransport> {
    const device = this.devices.find((one) => one.devno === devno);
    if (device === undefined) {
      throw new UsageError('BAD_ARGUMENT', `the machine has no virtio device 0x${devno.toString(16)}`);
    }
    return CcwTransport.open(this.io, device.schid, { deviations: qemuDeviations, ...options });
  }

  close(): Promise<void> {
    return this.machine.close();
  }
}
