import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { V86 } from 'v86';
import { blkDevice, type Storage } from 'virtio/devices/blk';
import { consoleDevice } from 'virtio/devices/console';
import { entropyDevice } from 'virtio/devices/entropy';
import { fsDevice } from 'virtio/devices/fs';
import { deleteBrowserDisk, openBrowserDisk } from '../src/browser-disk/index.ts';
import { type BrowserTree, deleteBrowserFiles, openBrowserFiles } from '../src/browser-files/index.ts';
import { attach, reloadOnReboot } from '../src/index.ts';
import { controlPort, Guest } from './guest.ts';
import { Screen } from './screen.ts';
import { addDevice, element, setStatus, terminalTheme } from './view.ts';

const diskName = 'page';
const diskSize = 64 * 2 ** 20;
const filesName = 'page';

/** Mounts the disk, which it formats first when nothing is on it. */
const mountScript = `mount /dev/vda /mnt 2>/dev/null || { mke2fs -F /dev/vda >/dev/null 2>&1 && mount /dev/vda /mnt; }`;

/** Mounts the files of the browser's private file system. */
const shareScript = 'modprobe virtiofs && mkdir -p /mnt/page && mount -t virtiofs page /mnt/page';

/** What the kernel is told; the server knows the rest of the guest. */
interface GuestDescription {
  readonly commandLine: string;
}

async function start(): Promise<void> {
  const terminal = new Terminal({
    cursorBlink: true,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace',
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(element('terminal'));
  terminal.options.theme = terminalTheme();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    terminal.options.theme = terminalTheme();
  });
  fit.fit();

  const storage = await openBrowserDisk(diskName, { size: diskSize });
  const files = await openBrowserFiles(filesName);
  offerReset(storage, files);
  const { commandLine }: GuestDescription = await (await fetch('guest/guest.json')).json();

  const screen = new Screen(terminal);
  const guest = new Guest(() => hvc.port(controlPort));
  const hvc = consoleDevice({
    size: { cols: terminal.cols, rows: terminal.rows },
    onData: (bytes) => screen.write(bytes),
    ports: [{ name: controlPort, onData: (bytes) => guest.receive(bytes) }],
  });
  const disk = blkDevice({
    storage,
    id: 'browser',
    onError: (error) => setStatus('failed', error.message),
  });
  const rng = entropyDevice({ source: (target) => crypto.getRandomValues(target) });
  const share = fsDevice({ tag: 'page', files, onError: (error) => setStatus('failed', error.message) });
  const encoder = new TextEncoder();
  const key = (bytes: Uint8Array): void => void hvc.console.write(bytes).catch(() => {});
  terminal.onData((text) => key(encoder.encode(text)));
  terminal.onBinary((text) => key(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => hvc.console.resize(cols, rows));
  new ResizeObserver(() => fit.fit()).observe(element('terminal'));

  setStatus('loading', 'Loading the guest…');
  const emulator = new V86({
    wasm_path: 'v86.wasm',
    memory_size: 256 * 2 ** 20,
    vga_memory_size: 2 ** 20,
    bios: { url: 'guest/bios' },
    vga_bios: { url: 'guest/vgaBios' },
    bzimage: { url: 'guest/bzimage' },
    initrd: { url: 'guest/initrd' },
    cmdline: commandLine,
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  });
  // What a device can live with is SeaBIOS's affair: it sets two status bits in one write.
  const onError = (error: Error, needsReset: boolean): void => {
    if (needsReset) setStatus('failed', error.message);
  };
  const attached = [hvc, disk, rng, share].map((device) => ({
    device,
    attachment: attach(emulator, device, { onError }),
  }));
  await Promise.all([reloadOnReboot(emulator), ...attached.map(({ attachment }) => attachment.ready)]);
  for (const { device, attachment } of attached) addDevice(device.type.name, attachment.slot);

  const begun = performance.now();
  setStatus('booting', 'Booting…');
  const ready = guest.ready();
  await emulator.run();
  await ready;
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  if ((await guest.exec(mountScript)) !== 0) terminal.writeln('The disk could not be mounted; reset it.\r');
  if ((await guest.exec(shareScript)) !== 0) terminal.writeln('The files could not be mounted.\r');
  setStatus('ready', `Ready; booted in ${seconds} s`);
  terminal.focus();
  for (;;) await guest.shell(terminal.cols, terminal.rows);
}

function offerReset(storage: Storage, files: BrowserTree): void {
  const button = element<HTMLButtonElement>('reset-disk');
  button.disabled = false;
  button.addEventListener('click', async () => {
    if (!confirm('Delete the disk and all files, and start again?')) return;
    await storage.close?.();
    await files.close();
    await Promise.all([deleteBrowserDisk(diskName), deleteBrowserFiles(filesName)]);
    location.reload();
  });
}

start().catch((error: unknown) =>
  setStatus('failed', error instanceof Error ? error.message : String(error)),
);
