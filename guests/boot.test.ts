import { type ConsoleEvent, consoleEvent, guestFiles, instructionLines } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SerialMachine } from './serial-machine.ts';

const seed = new Uint8Array(32).fill(7);
let machine: SerialMachine;
let kernelVersion: string;

beforeAll(async () => {
  const guest = await guestFiles({
    progress: ({ step, detail }) => process.stderr.write(`${step} ${detail}\n`),
  });
  kernelVersion = guest.kernelVersion;
  machine = await SerialMachine.start(guest);
  await machine.until(/^ready\n/m);
});

afterAll(() => machine.stop());

async function exec(
  command: string,
  now: number = Date.now() / 1000,
): Promise<{ output: string; status: number }> {
  machine.send(instructionLines({ type: 'exec', command }, now, seed));
  const all = await machine.until(/exit \d+\n/);
  const end = all.lastIndexOf('exit ');
  return { output: all.slice(0, end), status: Number.parseInt(all.slice(end + 5), 10) };
}

async function untilConsoleSays(event: ConsoleEvent): Promise<void> {
  for (;;) if (consoleEvent(await machine.until(/[^\n]*\n/)) === event) return;
}

test("Debian's kernel runs a command, whose output and status come back unchanged", async () => {
  expect(await exec('uname -r')).toEqual({ output: `${kernelVersion}\n`, status: 0 });
  expect(await exec('printf "a\\tb\\r\\n\\303\\244"; exit 42')).toEqual({
    output: 'a\tb\r\n\u00c3\u00a4',
    status: 42,
  });
  expect(await exec('kill -9 $$')).toMatchObject({ status: 137 });
});

test('a command gets input byte by byte, with no echo', async () => {
  machine.send(instructionLines({ type: 'exec', command: 'echo go; head -c 5 | od -An -tx1' }, 0, seed));
  await machine.until(/go\n/);
  machine.send(Uint8Array.of(0x03, 0x0d, 0x0a, 0x1a, 0x7f));
  expect(await machine.until(/exit \d+\n/)).toBe(' 03 0d 0a 1a 7f\nexit 0\n');
});

test('the clock is set before the command starts', async () => {
  const now = 2_000_000_000;
  const { output } = await exec('date +%s', now);
  expect(Number(output)).toBeGreaterThanOrEqual(now);
  expect(Number(output)).toBeLessThan(now + 60);
});

test('the drivers of our devices and ext4 are loaded', async () => {
  const { output } = await exec('lsmod; cat /proc/filesystems; modprobe -a virtio_blk ext4 && echo fine');
  for (const name of ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_rng', 'crc32c_generic']) {
    expect(output).toMatch(new RegExp(`^${name} `, 'm'));
  }
  expect(output).toMatch(/^\text4$/m);
  expect(output).toMatch(/fine\n$/);
});

test('no process of the boot is left over but init and its control script', async () => {
  const { output } = await exec('ps -o args');
  const programs = output.split('\n').filter((line) => line && !line.startsWith('['));
  expect(programs).toEqual(['COMMAND', 'init', '{control} /bin/sh /etc/control', '{ps} sh -c ps -o args']);
});

test('an interactive shell has its size, colours and job control, and its status comes back', async () => {
  machine.send(instructionLines({ type: 'shell', columns: 100, rows: 40 }, Date.now() / 1000, seed));
  expect(await machine.until(/# \S*6n$/)).toContain('\x1b[1;32m');
  machine.send('stty size; tty; echo $TERM\r');
  expect(await machine.until(/xterm\S+\r\n/)).toMatch(/\r\n40 100\r\n\/dev\/ttyS0\r\nxterm-256color\r\n/);
  // A key is a signal only once the shell has given the terminal to its job, so the job speaks first.
  machine.send('sleep 1000 & sh -c "echo job; sleep 1001"\r');
  await machine.until(/\njob\r\n/);
  machine.send('\x1a');
  await machine.until(/Stopped.*sleep 1001/);
  machine.send('fg\r');
  await machine.until(/\nsh -c.*\r\n/);
  // The shell says so before it gives the terminal to the job: a key that comes between is the shell's, and is lost.
  const interrupt = setInterval(() => machine.send('\x03'), 1000);
  await machine.until(/# \S*6n$/).finally(() => clearInterval(interrupt));
  machine.send('echo $?\r');
  await machine.until(/\n130\r\n/);
  machine.send('kill %1; exit 7\r');
  expect(await machine.until(/exit \d+\n/)).toMatch(/exit 7\n$/);
  expect(await exec('echo again')).toEqual({ output: 'again\n', status: 0 });
});

test('a reboot is seen on the console, and the guest is ready again', async () => {
  machine.send(instructionLines({ type: 'exec', command: 'reboot' }, Date.now() / 1000, seed));
  await untilConsoleSays('reboot');
  await machine.until(/^ready\n/m);
  expect(await exec('echo up')).toEqual({ output: 'up\n', status: 0 });
});

test('a power-off is seen on the console', async () => {
  machine.send(instructionLines({ type: 'exec', command: 'poweroff' }, Date.now() / 1000, seed));
  await untilConsoleSays('off');
});
