import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Device } from 'virtio/device';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { consoleDevice } from 'virtio/devices/console';
import { entropyDevice } from 'virtio/devices/entropy';
import { memoryWindow } from 'virtio/devices/fs';
import type { VirtioError } from 'virtio/errors';
import {
  legacyOnly,
  msixSignals,
  type PciLegacySupport,
  sharedMemory,
  VmmPciFunction,
} from 'virtio/transports/pci';
import { VfioUserServer } from 'virtio/vfio-user';
import { inOrder, packedRing } from 'virtio/virtqueue';
import { GuestSession, guestFiles, serialPorts } from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { QemuGuest } from 'virtio-node/qemu';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { checkFileSystem, fileInImage } from './disk-image.ts';
import { sha256 } from './hash.ts';
import { qemu } from './qemu-machine.ts';
import { WindowShare } from './window-work.ts';

const mebibyte = 2 ** 20;
const descriptors = new NodeDescriptors();
const windowLength = 16 * mebibyte;

/** Memory of this process that a machine maps: shared memory region 0 of a device. */
class SharedWindow {
  readonly descriptor = descriptors.createMemory(windowLength);
  readonly bytes: Uint8Array;
  readonly #mapping = descriptors.map(this.descriptor, 0, windowLength);

  constructor() {
    const [{ buffer, byteOffset, byteLength } = { buffer: new ArrayBuffer(0) }] = this.#mapping.pieces;
    this.bytes = new Uint8Array(buffer, byteOffset, byteLength);
  }

  close(): void {
    this.#mapping.close();
    this.descriptor.close();
  }
}

/** QEMU's arguments for memory that it shares with nobody: it gives no descriptors then, and is asked for every byte. */
const unshared = ['-object', 'memory-backend-ram,id=own,size=256M', '-machine', 'memory-backend=own'];

/** A device behind a socket, for one machine after the other. */
class Served {
  readonly path: string;
  readonly server: VfioUserServer<VmmPciFunction>;
  /** What the driver, or QEMU, did wrong. */
  readonly errors: VirtioError[] = [];
  readonly #listening: Listening;

  constructor(
    path: string,
    device: Device,
    packed: boolean,
    legacy: PciLegacySupport | undefined,
    window?: SharedWindow,
  ) {
    const onError = (error: VirtioError): void => void this.errors.push(error);
    this.path = path;
    const shared = window === undefined ? [] : [{ bar: 4, descriptor: window.descriptor }];
    this.server = new VfioUserServer({ descriptors, shared, onError }, (host) => {
      const own = { ...host, msix: msixSignals(host.signalVector), inOrder, onError };
      return new VmmPciFunction(device, {
        ...own,
        ...(packed ? { packedRing } : {}),
        ...(window === undefined ? {} : { capabilities: [sharedMemory(0, window.bytes)] }),
        ...(legacy === undefined ? {} : { legacy }),
      });
    });
    this.#listening = listenUnix(path, (channel) => this.server.serve(channel));
  }

  /** QEMU's arguments for it. */
  get args(): string[] {
    const socket = { type: 'unix', path: this.path };
    return ['-device', JSON.stringify({ driver: 'vfio-user-pci', socket })];
  }

  close(): void {
    this.#listening.close();
    this.server.close();
  }
}

describe.each([
  { driver: 'a modern driver with MSI-X', packed: true, mapsFiles: true, append: '', interrupts: /PCI-MSI/ },
  { driver: 'a modern driver without MSI-X', packed: false, append: 'pci=nomsi', interrupts: /IO-APIC/ },
  {
    driver: 'a legacy driver with MSI-X',
    packed: false,
    legacy: legacyOnly(),
    append: '',
    interrupts: /PCI-MSI/,
  },
])(
  "QEMU's vfio-user-pci and $driver of Linux, packed: $packed",
  ({ packed, mapsFiles = false, legacy, append, interrupts }) => {
    const storage = memoryStorage(16 * mebibyte);
    const given: Buffer[] = [];
    const shown: Buffer[] = [];
    const terminal = consoleDevice({ onData: (bytes) => void shown.push(Buffer.from(bytes)) });
    const window = mapsFiles ? new SharedWindow() : undefined;
    const share = window && new WindowShare(memoryWindow(window.bytes));
    let folder: string;
    let served: readonly Served[];
    let guest: QemuGuest;
    let session: GuestSession;

    const start = async (...args: string[]): Promise<void> => {
      guest = await QemuGuest.start({
        tool: await qemu('qemu-11'),
        guest: await guestFiles({ machine: 'qemu' }),
        ports: 2,
        append: [serialPorts('ttyS1', 'ttyS2'), append].join(' ').trim(),
        args: [...args, ...served.flatMap(({ args }) => args)],
      });
      session = new GuestSession(guest);
      await session.ready();
      // SeaBIOS, which looks for a system on the disk, sets ACKNOWLEDGE and DRIVER in one write.
      for (const { errors } of served) {
        expect(errors.filter(({ code }) => code !== 'STATUS_SEQUENCE')).toEqual([]);
        errors.length = 0;
      }
    };

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'virtio-vfio-'));
      const entropy = entropyDevice({
        source(target) {
          crypto.getRandomValues(target);
          given.push(Buffer.from(target));
        },
      });
      const devices = { disk: blkDevice({ storage, id: 'the-disk' }), entropy, terminal };
      served = Object.entries(devices).map(
        ([name, device]) => new Served(join(folder, name), device, packed, legacy),
      );
      if (share !== undefined) {
        served = [...served, new Served(join(folder, 'share'), share.device, packed, legacy, window)];
      }
      await start();
    });

    afterAll(async () => {
      await guest?.close();
      for (const one of served ?? []) one.close();
      window?.close();
      await rm(folder, { recursive: true });
    });

    test('all three are bound to their drivers, with the interrupts that there are', async () => {
      const bound = await session.text('cd /sys/bus/virtio/drivers; ls -1d */virtio*');
      const drivers = ['virtio_blk/virtio0', 'virtio_console/virtio2', 'virtio_rng/virtio1'];
      // virtiofs is loaded once something is mounted.
      expect(bound.split('\n')).toEqual(drivers);
      // RING_PACKED is bit 34.
      const rings = await session.text('cut -c35 /sys/bus/virtio/drivers/*/virtio*/features | sort -u');
      expect(rings).toBe(packed ? '1' : '0');
      const lines = (await session.text('grep virtio /proc/interrupts')).split('\n');
      for (const line of lines) expect(line).toMatch(interrupts);
    });

    const usesDisk = async (): Promise<void> => {
      const hash = await session.text(
        `mke2fs /dev/vda >/dev/null 2>&1 && mount /dev/vda /mnt && head -c 5000001 /dev/urandom >/mnt/file &&
       sha256sum </mnt/file && umount /mnt`,
      );
      const image = join(folder, 'image');
      await writeFile(image, storage.bytes);
      expect(await checkFileSystem(image)).toBe(0);
      expect(`${sha256(await fileInImage(image, '/file'))}  -`).toBe(hash);
      const whole = await session.text('sha256sum </dev/vda');
      expect(whole).toBe(`${sha256(storage.bytes)}  -`);
      expect(await session.text('cat /sys/block/vda/serial')).toBe('the-disk');
    };

    const usesEntropy = async (): Promise<void> => {
      given.length = 0;
      const { output, status } = await session.exec('head -c 4096 /dev/hwrng');
      expect([status, output.length]).toEqual([0, 4096]);
      // The driver keeps bytes of a request that was there before: what comes next is ours.
      expect(Buffer.concat(given).indexOf(output.subarray(-512))).toBeGreaterThanOrEqual(0);
    };

    const usesTerminal = async (length: number): Promise<void> => {
      shown.length = 0;
      const bytes = randomBytes(length);
      // A terminal that nobody holds open forgets its modes.
      const raw = 'exec 9<>/dev/hvc0; stty raw -echo <&9';
      const read = session.text(`${raw}; echo ready >&9; head -c ${length} <&9 | sha256sum`);
      await vi.waitFor(() => expect(Buffer.concat(shown).includes('ready')).toBe(true), 60_000);
      for (let at = 0; at < bytes.length; at += 65_536) {
        await terminal.console.write(bytes.subarray(at, at + 65_536));
      }
      expect(await read).toBe(`${sha256(bytes)}  -`);
      shown.length = 0;
      const hash = await session.text(
        `${raw}; head -c ${length} /dev/urandom >/tmp/r; cat /tmp/r >&9; sha256sum </tmp/r`,
      );
      await vi.waitFor(() => expect(Buffer.concat(shown)).toHaveLength(length), 60_000);
      expect(`${sha256(Buffer.concat(shown))}  -`).toBe(hash);
    };

    test('a file system that the guest makes on the disk is whole from outside', usesDisk);

    test('hwrng delivers what the source gave', usesEntropy);

    test('the console carries a megabyte each way unchanged', () => usesTerminal(mebibyte));

    test.runIf(mapsFiles)('files in memory are mapped into a BAR of shared memory', async () => {
      await share?.exercise((command) => session.text(command));
    });

    test('nobody did anything wrong', () => {
      for (const { errors } of served) expect(errors).toEqual([]);
    });

    test('a guest that starts anew finds the devices again, and the disk as it was', async () => {
      await session.reboot();
      expect(await session.text('cd /sys/bus/virtio/drivers; ls -d */virtio* | wc -l')).toBe('3');
      expect(await session.text('sha256sum </dev/vda')).toBe(`${sha256(storage.bytes)}  -`);
    });

    test('a machine that is gone without a word takes its memory along, and the next one is served, which shares none', async () => {
      await guest.close();
      await vi.waitFor(() => {
        for (const { server } of served) {
          expect(server.connected).toBe(false);
          expect(server.pciFunction.core.memory.regions).toEqual([]);
        }
      }, 60_000);
      await start(...unshared);
      for (const { server } of served) {
        const { regions } = server.pciFunction.core.memory;
        expect(regions.filter(({ length }) => length > windowLength)).toEqual([]);
      }
      expect(await session.text('sha256sum </dev/vda')).toBe(`${sha256(storage.bytes)}  -`);
      await usesDisk();
      await usesEntropy();
      await usesTerminal(mebibyte / 16);
      for (const { errors } of served) expect(errors).toEqual([]);
      await session.reboot();
      expect(await session.text('sha256sum </dev/vda')).toBe(`${sha256(storage.bytes)}  -`);
    });
  },
);
