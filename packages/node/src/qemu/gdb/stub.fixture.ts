import type { Socket } from 'node:net';
import { packetOf, takePackets } from './packets.ts';

const count = 18;

/**
 * A debugger stub with a processor that runs no program: it stops where a test says, with the registers that the test
 * has put there. It speaks over QEMU's end of a connection.
 */
export class Stub {
  /** By number: the PSW's two halves, 16 general registers, 16 control registers, the prefix. */
  readonly registers: bigint[] = Array<bigint>(count + 17).fill(0n);
  readonly breakpoints = new Set<number>();
  /** Everything that was asked for but registers and descriptions. */
  readonly log: string[] = [];
  readonly #socket: Socket;
  readonly #waiters: (() => void)[] = [];
  #running = false;
  #received = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      const taken = takePackets(this.#received + text);
      this.#received = taken?.rest ?? '';
      for (const packet of taken?.packets ?? []) this.#answer(packet);
    });
  }

  get psw(): { readonly mask: bigint; readonly address: bigint } {
    return { mask: this.registers[0] ?? 0n, address: this.registers[1] ?? 0n };
  }

  general(number: number): bigint {
    return this.registers[2 + number] ?? 0n;
  }

  set(values: {
    readonly mask?: bigint;
    readonly address?: bigint;
    readonly general?: Readonly<Record<number, bigint>>;
    readonly control?: Readonly<Record<number, bigint>>;
    readonly prefix?: bigint;
  }): void {
    const { mask = this.psw.mask, address = this.psw.address, general = {}, control = {}, prefix } = values;
    this.registers[0] = mask;
    this.registers[1] = address;
    for (const [number, value] of Object.entries(general)) this.registers[2 + Number(number)] = value;
    for (const [number, value] of Object.entries(control)) this.registers[count + Number(number)] = value;
    if (prefix !== undefined) this.registers[count + 16] = prefix;
  }

  /** Settles when the processor runs. */
  async running(): Promise<void> {
    while (!this.#running) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** Stops the processor. */
  stop(): void {
    this.#running = false;
    this.#send('T05thread:01;');
  }

  #answer(packet: string): void {
    const answer = this.#plain(packet) ?? this.#logged(packet);
    if (answer !== undefined) this.#send(answer);
  }

  /** Registers and descriptions. */
  #plain(packet: string): string | undefined {
    if (packet === 'g') return this.registers.slice(0, count).map(digits).join('');
    if (packet.startsWith('qSupported')) return 'PacketSize=1000';
    const file = /^qXfer:features:read:([\w.]+):/.exec(packet)?.[1];
    if (file !== undefined) return `l${descriptions[file] ?? ''}`;
    const [, number, value] = /^[pP]([0-9a-f]+)(?:=([0-9a-f]+))?$/.exec(packet) ?? [];
    if (number === undefined) return undefined;
    const register = Number.parseInt(number, 16);
    if (value === undefined) return digits(this.registers[register] ?? 0n);
    this.registers[register] = BigInt(`0x${value}`);
    return 'OK';
  }

  #logged(packet: string): string | undefined {
    this.log.push(packet);
    if (packet === 's') return 'T05thread:01;';
    const [, how, address = ''] = /^([zZ])0,([0-9a-f]+),2$/.exec(packet) ?? [];
    const place = Number.parseInt(address, 16);
    if (how === 'Z') this.breakpoints.add(place);
    if (how === 'z') this.breakpoints.delete(place);
    if (how !== undefined) return 'OK';
    this.#running = true;
    for (const waiter of this.#waiters.splice(0)) waiter();
    return undefined;
  }

  #send(text: string): void {
    this.#socket.write(`+${packetOf(text)}`);
  }
}

const digits = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');
const names = (prefix: string): string[] => Array.from({ length: 16 }, (_, index) => `${prefix}${index}`);
const described = (all: readonly string[]): string =>
  `<feature>${all.map((name) => `<reg name="${name}" bitsize="64"/>`).join('\n')}</feature>`;

const descriptions: Readonly<Record<string, string>> = {
  'target.xml': '<target><xi:include href="core.xml"/><xi:include href="more.xml"/></target>',
  'core.xml': described(['pswm', 'pswa', ...names('r')]),
  'more.xml': described([...names('cr'), 'prefix']),
};
