import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blk, openBlk } from 'virtio/devices/blk';
import { openConsole, virtio_console_control } from 'virtio/devices/console';
import { entropy, openEntropy } from 'virtio/devices/entropy';
import { open, type Transport } from 'virtio/driver';
import { type Configuration, RawDriver, TransportProxy } from 'virtio/testing';
import { pvirtqDescFlags, type QueueAreas } from 'virtio/virtqueue';
import { QemuMachine, QemuPciMachine } from 'virtio-node/qemu';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { qemuKnownDeviations } from '../conformance/known-deviations/qemu.ts';
import { pattern, qemu } from './qemu-machine.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const slots = { blk: 4, console: 5, entropy: 6, slow: 7 } as const;
const modern = 'disable-legacy=on,packed=on';
const portName = 'org.example.name';

let folder: string;
let machine: QemuPciMachine;
let opened: Transport[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-image-'));
  await writeFile(join(folder, 'disk'), pattern(1 << 20, 0));
  machine = await QemuPciMachine.start({
    tool: await qemu('qemu-x86'),
    board: 'pc',
    sockets: ['port'],
    args: [
      ...['-blockdev', `driver=file,node-name=disk,filename=${join(folder, 'disk')}`],
      ...['-device', `virtio-blk-pci,addr=${slots.blk},drive=disk,id=disk-device,${modern}`],
      ...['-blockdev', 'driver=null-co,node-name=slow,size=1048576,latency-ns=300000000,read-zeroes=on'],
      ...['-device', `virtio-blk-pci,addr=${slots.slow},drive=slow,${modern}`],
      ...['-device', `virtio-serial-pci,addr=${slots.console},id=console,${modern}`],
      ...['-device', `virtserialport,bus=console.0,chardev=port,name=${portName}`],
      ...['-device', `virtio-rng-pci,addr=${slots.entropy},${modern}`],
    ],
  });
});
afterEach(async () => {
  for (const transport of opened.splice(0)) await transport.close();
});
afterAll(async () => {
  await machine?.close();
  await rm(folder, { recursive: true });
});

async function transportOf(name: keyof typeof slots): Promise<Transport> {
  const transport = await machine.open(slots[name]);
  opened = [...opened, transport];
  return transport;
}

test('a disk that grows tells of it, and both its old and its new sectors are read', async () => {
  const capacities: number[] = [];
  const disk = await openBlk(await transportOf('blk'), {
    onCapacityChange: (capacity) => void capacities.push(capacity),
  });
  expect(disk.capacity).toBe(2048);
  await machine.machine.qmp.execute('block_resize', { 'node-name': 'disk', size: 2 << 20 });
  await expect.poll(() => capacities).toEqual([4096]);
  expect(await disk.read(0, 1)).toEqual(pattern(512, 0));
  expect(await disk.read(4095, 1)).toEqual(new Uint8Array(512));
  await machine.machine.qmp.execute('block_resize', { 'node-name': 'disk', size: 1 << 20 });
  await expect.poll(() => capacities).toEqual([4096, 2048]);
});

test('a reset in mid-flight ends what is under way, and the device serves again', async () => {
  const transport = await transportOf('slow');
  const disk = await openBlk(transport);
  const reading = Promise.allSettled([disk.read(0, 1), disk.read(8, 16)]);
  await transport.readStatus();
  await disk.close();
  for (const one of await reading) expect(one).toMatchObject({ reason: { code: 'DEVICE_GONE' } });

  const again = await openBlk(await transportOf('slow'));
  expect(await again.read(0, 16)).toEqual(new Uint8Array(8192));
});

test.each([3, 4, 8, 128])('a queue of %d descriptors does', async (queueSize) => {
  const disk = await openBlk(await transportOf('blk'), { queueSize, indirectPolicy: 'always' });
  const sectors = Array.from({ length: 40 }, (_, sector) => sector);
  const read = await Promise.all(sectors.map((sector) => disk.read(sector, 1)));
  expect(Buffer.concat(read)).toEqual(Buffer.from(pattern(40 * 512, 0)));
  await disk.close();
});

test('a queue that was reset serves again', async () => {
  const transport = await transportOf('entropy');
  const device = await open(transport, entropy, { features: [] });
  expect(device.has('RING_RESET')).toBe(true);
  for (let time = 0; time < 3; time++) {
    const bytes = await device.queue('requestq').request(new Uint8Array(), 100);
    expect(bytes.length).toBe(100);
    await device.resetQueue('requestq');
    await device.enableQueue('requestq');
  }
  await device.close();
});

test('a disk that offers what our driver leaves alone works all the same', async () => {
  const without = ['SEG_MAX', 'FLUSH', 'TOPOLOGY', 'CONFIG_WCE', 'DISCARD', 'WRITE_ZEROES', 'MQ'] as const;
  const disk = await openBlk(await transportOf('blk'), { without });
  expect(without.filter((feature) => disk.device.has(feature))).toEqual([]);
  expect(blk.name).toBe(disk.device.type.name);
  expect(await disk.read(3, 1)).toEqual(pattern(4 * 512, 0).subarray(3 * 512));
});

test('known: the used descriptor of a packed ring has no WRITE flag', async () => {
  const record = recordOf('2.8.5');
  const configuration: Configuration = {
    bus: 'pci of QEMU',
    packed: true,
    eventIdx: false,
    indirect: false,
    inOrder: false,
  };
  const target = {
    transport: await transportOf('entropy'),
    type: entropy,
    probe: { queue: 'requestq', readable: new Uint8Array(), writable: 64 },
    configuration,
  };
  const { driver, ring } = await RawDriver.start(target);
  expect(await driver.roundTrip(ring)).toMatchObject({ written: 64 });
  const flags = new DataView(driver.transport.memory.read(ring.areas.descriptor + 14, 2).buffer).getUint16(
    0,
    true,
  );
  expect(flags & (pvirtqDescFlags.AVAIL | pvirtqDescFlags.USED)).not.toBe(0);
  // When it is set, the record is to be removed, and USED_LENGTH_WITHOUT_WRITE with it.
  expect(flags & pvirtqDescFlags.WRITE, record.does).toBe(0);
  await driver.finish();
});

test('known: the name of a port has a NUL behind it', async () => {
  const record = recordOf('5.3.6.2');
  const control = new QueueKeeper(await transportOf('console'), 2);
  const console = await openConsole(control, { reserved: ['VERSION_1'], indirectPolicy: 'never' });
  await console.port(portName);
  const { size } = virtio_console_control;
  const lengths = control.usedLengths();
  // When there is none, the record is to be removed, and what the driver does for it.
  expect(lengths, record.does).toContain(size + portName.length + 1);
  expect(lengths, record.does).not.toContain(size + portName.length);
  await console.close();
});

test('a driver whose QEMU dies is told so, with all that it waits for', async () => {
  const other = await QemuPciMachine.start({
    tool: await qemu('qemu-x86'),
    board: 'q35',
    args: ['-device', `virtio-rng-pci,addr=4,max-bytes=1,period=1000000,${modern}`],
  });
  try {
    const failures: Error[] = [];
    const rng = await openEntropy(await other.open(4), { onFailure: (error) => void failures.push(error) });
    const reading = rng.read(1000).catch((error: unknown) => error);
    await other.machine.qmp.execute('quit');
    expect(await reading).toMatchObject({
      code: 'DEVICE_GONE',
      message: expect.stringContaining('QEMU ended'),
    });
    expect(failures).toMatchObject([{ code: 'DEVICE_GONE' }]);
    await expect(other.machine.qtest.in(0, 1)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
  } finally {
    await other.close();
  }
});

test('a device that QEMU does not know is named in the error', async () => {
  const start = QemuMachine.start({
    tool: await qemu('qemu-x86'),
    board: 'pc',
    args: ['-device', 'no-such'],
  });
  await expect(start).rejects.toMatchObject({
    code: 'GUEST_FAILED',
    message: expect.stringContaining("'no-such' is not a valid device model name"),
  });
});

function recordOf(number: string): { readonly does: string } {
  const record = qemuKnownDeviations.find((one) => one.clause === undefined && one.number === number);
  if (record === undefined) throw new Error(`there is no record of a deviation from ${number}`);
  return record;
}

/** Remembers where a split queue is, to look at what the device has used. */
class QueueKeeper extends TransportProxy {
  readonly #index: number;
  #areas: QueueAreas | undefined;

  constructor(inner: Transport, index: number) {
    super(inner);
    this.#index = index;
  }

  override async enableQueue(index: number, areas: QueueAreas): Promise<void> {
    if (index === this.#index) this.#areas = areas;
    await super.enableQueue(index, areas);
  }

  /** How many bytes the device wrote to each buffer of its first lap. */
  usedLengths(): number[] {
    const areas = this.#areas;
    if (areas === undefined) return [];
    const { buffer } = this.memory.read(areas.device, 4 + 8 * areas.size);
    const used = new DataView(buffer);
    const count = Math.min(used.getUint16(2, true), areas.size);
    return Array.from({ length: count }, (_, at) => used.getUint32(8 + 8 * at, true));
  }
}
