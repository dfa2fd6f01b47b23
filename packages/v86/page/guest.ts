import type { ConsolePort } from 'virtio/devices/console';

/** The port on which the guest's init takes its orders; the words are described with the guest's files. */
export const controlPort = 'org.virtio-ts.control';

/** The conversation with the guest's init, one instruction at a time. */
export class Guest {
  readonly #port: () => ConsolePort;
  readonly #waiting: ((line: string) => void)[] = [];
  #line = '';

  constructor(port: () => ConsolePort) {
    this.#port = port;
  }

  /** Settles when the guest waits for its first order. */
  async ready(): Promise<void> {
    while ((await this.#next()) !== 'ready');
  }

  /** Runs a command; answers its exit status. */
  exec(command: string): Promise<number> {
    return this.#order(`exec ${base64(new TextEncoder().encode(command))}`);
  }

  /** Runs a shell on the terminal until it ends. */
  shell(columns: number, rows: number): Promise<number> {
    return this.#order(`shell ${columns} ${rows}`);
  }

  /** What the guest sent on the control port. */
  receive(bytes: Uint8Array): void {
    const lines = (this.#line + new TextDecoder('latin1').decode(bytes)).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) for (const wake of this.#waiting.splice(0)) wake(line);
  }

  async #order(instruction: string): Promise<number> {
    const seed = base64(crypto.getRandomValues(new Uint8Array(32)));
    const lines = [`time ${Math.floor(Date.now() / 1000)}`, `seed ${seed}`, instruction, ''];
    void this.#port().write(new TextEncoder().encode(lines.join('\n')));
    for (;;) {
      const status = /^exit (\d+)$/.exec(await this.#next())?.[1];
      if (status !== undefined) return Number(status);
    }
  }

  #next(): Promise<string> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
