import type { Device } from 'virtio/device';
import { HostError } from 'virtio/errors';
import type { CcwDeviceOptions, ChannelSubsystem } from 'virtio/transports/ccw';
import { GdbRemote } from './gdb/remote.ts';
import { QemuMachine, type QemuOptions } from './machine.ts';
import { InstructionBridge } from './s390/instruction-bridge.ts';
import { Processor } from './s390/processor.ts';

const debuggerName = 'virtio-debugger';

/** Where Linux begins once it has unpacked itself, when it is not moved about (`nokaslr`). */
const kernelStart = 0x10_0000;
/** More bytes than its code has. */
const kernelLength = 32 << 20;
/** Milliseconds that it has to unpack itself, on a machine with much else to do. */
const patience = 180_000;

export interface QemuCcwHostOptions extends Omit<QemuOptions, 'board' | 'kernel'> {
  /** Linux for s390x, of a version that runs at the addresses where it lies: before 6.10. `append` needs `nokaslr`. */
  readonly kernel: Uint8Array;
  /** Subchannels that the devices in `args` have: ours are behind them. 0 unless told. */
  readonly ownSubchannels?: number;
}

/**
 * An s390x machine of QEMU's that runs Linux, and finds devices of ours in its channel subsystem. QEMU knows nothing of
 * these: its debugger stub stops the processor at the kernel's I/O instructions.
 */
export class QemuCcwHost {
  readonly machine: QemuMachine;
  readonly #bridge: InstructionBridge;
  #next: number;

  private constructor(machine: QemuMachine, bridge: InstructionBridge, first: number) {
    this.machine = machine;
    this.#bridge = bridge;
    this.#next = first;
  }

  /**
   * Starts QEMU, and Linux until it has unpacked itself. Add devices then, and `run`.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start, or when Linux does not begin where it
   *   should, or has no I/O instructions there.
   */
  static async start(options: QemuCcwHostOptions): Promise<QemuCcwHost> {
    const { ownSubchannels = 0, ...others } = options;
    const machine = await QemuMachine.start({
      ...others,
      board: 's390-ccw-virtio',
      sockets: [...(options.sockets ?? []), debuggerName],
      args: ['-no-reboot', '-S', '-gdb', `chardev:${debuggerName}`, ...(options.args ?? [])],
    });
    try {
      const { memory, qmp } = machine;
      const gdb = new GdbRemote(await machine.socket(debuggerName), () => machine.ended);
      const processor = await Processor.attach(gdb, memory);
      const restart = async (): Promise<void> => void (await qmp.execute('inject-nmi'));
      const bridge = new InstructionBridge({ memory, processor, restart, firstSubchannel: ownSubchannels });
      await untilKernel(gdb);
      const found = await bridge.watch(kernelStart, kernelStart + kernelLength);
      if (found === 0)
        throw new HostError('GUEST_FAILED', 'the kernel has no I/O instructions where it begins');
      return new QemuCcwHost(machine, bridge, ownSubchannels);
    } catch (error) {
      await machine.close();
      throw error;
    }
  }

  get subsystem(): ChannelSubsystem {
    return this.#bridge.subsystem;
  }

  /** Puts a device on the next subchannel, whose `schid` comes back. */
  add(device: Device, options: Omit<CcwDeviceOptions, 'subchannel'> = {}): number {
    return this.subsystem.add(device, { ...options, subchannel: this.#next++ });
  }

  /** Lets Linux go on. Rejects with HostError DEVICE_GONE when QEMU ends, by itself or by `close`. */
  run(): Promise<never> {
    return this.#bridge.run();
  }

  close(): Promise<void> {
    return this.machine.close();
  }
}

/** Lets the processor run until Linux has unpacked itself. */
async function untilKernel(gdb: GdbRemote): Promise<void> {
  const late = setTimeout(() => {
    const where = `0x${kernelStart.toString(16)} within ${patience / 1000} s`;
    gdb.fail(
      new HostError('GUEST_FAILED', `Linux did not begin at ${where}: is \`nokaslr\` on its command line?`),
    );
  }, patience);
  try {
    await gdb.insertBreakpoint(kernelStart);
    await gdb.resume();
    await gdb.removeBreakpoint(kernelStart);
  } finally {
    clearTimeout(late);
  }
}
