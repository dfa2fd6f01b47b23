import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError, UsageError } from 'virtio/errors';
import { Allocator, GuestMemory } from 'virtio/memory';
import { GuardedChild } from '../guests/guarded-child.ts';
import type { Tool } from '../guests/tools.ts';
import { type Board, type BoardName, boards } from './boards.ts';
import { Qmp } from './qmp.ts';
import { Qtest } from './qtest.ts';
import { SharedMemory } from './shared-memory.ts';
import { AwaitedSocket } from './sockets.ts';

/** Which machine QEMU is to be. */
export interface QemuOptions {
  /** QEMU, as `ensureTool` answers it. */
  readonly tool: Tool;
  readonly board: BoardName;
  /** Properties of the machine, such as `acpi=off`. */
  readonly machine?: string;
  /** Bytes of memory, shared with this process; 64 MiB unless told. */
  readonly memory?: number;
  /** What the processor is to run: a kernel, in a form that QEMU loads. */
  readonly kernel?: Uint8Array;
  /** An initramfs for it. */
  readonly initrd?: Uint8Array;
  /** The kernel's command line. */
  readonly append?: string;
  /** Devices and everything else: QEMU's own arguments. There is nothing in the machine that is not named here. */
  readonly args?: readonly string[];
  /** Names of character devices for `args`; `socket` gives the other end of each. */
  readonly sockets?: readonly string[];
}

/** Milliseconds that QEMU has to start, on a machine with much else to do. */
const patience = 60_000;

/**
 * A machine of QEMU's in a process of its own. Its processor stands still: this process makes the accesses, over
 * QEMU's test protocol, and shares the memory. It ends with `close`, or with this process.
 */
export class QemuMachine {
  readonly board: Board;
  /** The machine's memory; the same bytes as QEMU's. */
  readonly memory: GuestMemory;
  /** The part of it that is a driver's to give. */
  readonly allocator: Allocator;
  readonly qtest: Qtest;
  readonly qmp: Qmp;

  readonly #parts: Parts;
  readonly #lines = new Map<number, () => void>();
  readonly #raised = new Set<number>();
  readonly #goneHandlers = new Set<(error: Error) => void>();

  private constructor(board: Board, parts: Parts, qtest: Qtest, qmp: Qmp) {
    this.board = board;
    this.#parts = parts;
    this.qtest = qtest;
    this.qmp = qmp;
    this.memory = new GuestMemory();
    parts.shared.addTo(this.memory, board.memoryStart);
    const { freeStart, memoryStart } = board;
    this.allocator = new Allocator(freeStart, memoryStart + parts.shared.length - freeStart);
    qtest.onInterrupt = (line, level) => {
      if (!level) {
        this.#raised.delete(line);
        return;
      }
      this.#raised.add(line);
      this.#lines.get(line)?.();
    };
    void parts.child.ended.then((error) => {
      for (const handler of this.#goneHandlers) handler(error);
    });
  }

  /**
   * Starts QEMU and waits until it can be used.
   *
   * @throws {HostError} GUEST_FAILED with QEMU's words when it does not start.
   */
  static async start(options: QemuOptions): Promise<QemuMachine> {
    const board = boards[options.board];
    const length = options.memory ?? 64 << 20;
    if (length > board.mostMemory) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${options.board} has at most ${board.mostMemory} bytes in one piece`,
      );
    }
    const parts = await Parts.start(options, board, length);
    try {
      const whyClosed = (): Promise<HostError> => parts.child.kill();
      const qtest = new Qtest(await parts.socket('qtest'), whyClosed);
      const qmp = await Qmp.start(await parts.socket('qmp'), whyClosed);
      const machine = new QemuMachine(board, parts, qtest, qmp);
      await machine.#watchInterrupts();
      // QEMU has read and mapped what it was lent: nothing is left behind, however this process ends.
      await parts.removeFiles();
      return machine;
    } catch (error) {
      await parts.close();
      if (!(error instanceof HostError) || error.code !== 'DEVICE_GONE') throw error;
      throw new HostError('GUEST_FAILED', error.message, { cause: error });
    }
  }

  /** The other end of a character device that `sockets` named. */
  socket(name: string): Promise<Socket> {
    return this.#parts.socket(name);
  }

  /**
   * Calls the handler whenever the interrupt line is raised, and at once if it is up already; `undefined` ends it.
   *
   * @throws {UsageError} BAD_STATE when somebody listens to the line already: its level tells of one device.
   */
  listenLine(line: number, handler: (() => void) | undefined): void {
    if (handler === undefined) {
      this.#lines.delete(line);
      return;
    }
    if (this.#lines.has(line)) {
      throw new UsageError(
        'BAD_STATE',
        `interrupt line ${line} has a listener already: put the device elsewhere`,
      );
    }
    this.#lines.set(line, handler);
    if (this.#raised.has(line)) handler();
  }

  /** Calls the handler once when QEMU ends before `close`. */
  listenGone(handler: (error: Error) => void): void {
    this.#goneHandlers.add(handler);
  }

  /** Settles when QEMU has ended, by `close` or otherwise: how it was. */
  get ended(): Promise<HostError> {
    return this.#parts.child.ended;
  }

  /** What QEMU complained of so far. */
  get complaints(): string {
    return this.#parts.child.complaints;
  }

  /** Ends QEMU and removes what it was lent. */
  async close(): Promise<void> {
    this.#goneHandlers.clear();
    await this.#parts.close();
  }

  async #watchInterrupts(): Promise<void> {
    const { interrupts } = this.board;
    if (interrupts === undefined) return;
    await this.qtest.interceptInterrupts(
      'path' in interrupts ? interrupts.path : await this.#pathOf(interrupts.type),
    );
  }

  /** The path of a device that QEMU itself has put into the machine, by its type. */
  async #pathOf(type: string): Promise<string> {
    const path = '/machine/unattached';
    const children = await this.qmp.execute('qom-list', { path });
    for (const child of Array.isArray(children) ? children : []) {
      if (child?.type === `child<${type}>`) return `${path}/${child.name}`;
    }
    throw new HostError('NOT_FOUND', `QEMU's machine has no ${type}`);
  }
}

/** What a machine is made of outside QEMU: the process, sockets, shared memory and a folder. */
class Parts {
  readonly shared: SharedMemory;
  readonly #folder: string;
  readonly #sockets = new Map<string, AwaitedSocket>();
  #child: GuardedChild | undefined;

  private constructor(folder: string, shared: SharedMemory) {
    this.#folder = folder;
    this.shared = shared;
  }

  static async start(options: QemuOptions, board: Board, memory: number): Promise<Parts> {
    const shared = await SharedMemory.create(memory);
    const parts = new Parts(await mkdtemp(join(tmpdir(), 'virtio-qemu-')), shared);
    try {
      for (const name of ['qtest', 'qmp', ...(options.sockets ?? [])]) {
        parts.#sockets.set(name, await AwaitedSocket.listen(parts.#folder, name));
      }
      const programs = { bios: board.firmware?.(), kernel: options.kernel, initrd: options.initrd };
      await parts.#spawn(options.tool, [...parts.#arguments(options), ...(await parts.#programs(programs))]);
      return parts;
    } catch (error) {
      await parts.close();
      throw error;
    }
  }

  async socket(name: string): Promise<Socket> {
    const awaited = this.#sockets.get(name);
    if (awaited === undefined) throw new UsageError('UNKNOWN_NAME', `the machine has no socket ${name}`);
    return awaited.connected;
  }

  /** The process, once it was started. */
  get child(): GuardedChild {
    if (this.#child !== undefined) return this.#child;
    throw new UsageError('BAD_STATE', 'QEMU was not started');
  }

  async close(): Promise<void> {
    const error = await this.#child?.kill();
    for (const one of this.#sockets.values()) one.close(error ?? notStarted());
    await this.removeFiles();
  }

  async removeFiles(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await this.shared.close();
  }

  #arguments(options: QemuOptions): string[] {
    const chardevs = [...this.#sockets].flatMap(([name, { path }]) => [
      '-chardev',
      `socket,id=${name},path=${path}`,
    ]);
    const memory = `memory-backend-file,id=memory,size=${this.shared.length},mem-path=${this.shared.path},share=on`;
    const machine = [options.board, 'memory-backend=memory', ...(options.machine ? [options.machine] : [])];
    return [
      ...['-machine', machine.join(','), '-m', `${this.shared.length / 1024}K`, '-object', memory],
      // Distributions compile in where QEMU's own firmware is; it may be beside QEMU instead.
      ...['-L', join(options.tool.folder, '..', 'share', 'qemu')],
      // Not every QEMU has the accelerator that is made for the test protocol. A processor that is halted does as well.
      ...['-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none'],
      ...chardevs,
      ...['-qtest', 'chardev:qtest', '-qtest-log', 'none', '-mon', 'chardev=qmp,mode=control'],
      ...(options.append === undefined ? [] : ['-append', options.append]),
      ...(options.args ?? []),
    ];
  }

  /** Writes files for QEMU, each under the name of its option. */
  async #programs(files: Readonly<Record<string, Uint8Array | undefined>>): Promise<string[]> {
    const args: string[] = [];
    for (const [option, bytes] of Object.entries(files)) {
      if (bytes === undefined) continue;
      const path = join(this.#folder, `${option}.bin`);
      await writeFile(path, bytes);
      args.push(`-${option}`, path);
    }
    return args;
  }

  async #spawn({ file, environment }: Tool, args: readonly string[]): Promise<void> {
    const child = await GuardedChild.start(file, args, { name: 'QEMU', environment });
    this.#child = child;
    void child.ended.then((error) => {
      for (const one of this.#sockets.values()) one.close(error);
    });
    const timer = setTimeout(() => {
      child.complain('it did not connect in time\n');
      void child.kill();
    }, patience);
    try {
      await Promise.all([...this.#sockets.values()].map(({ connected }) => connected));
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new HostError('GUEST_FAILED', message, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

function notStarted(): HostError {
  return new HostError('DEVICE_GONE', 'QEMU was not started');
}
