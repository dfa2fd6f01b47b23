/** Our Channel I/O devices under Linux's own virtio_ccw, on QEMU's s390x machine. */
import { randomBytes } from 'node:crypto';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { entropyDevice } from 'virtio/devices/entropy';
import { legacyCcwDevice, type Revision } from 'virtio/transports/ccw';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CcwGuest, type Presentation } from './ccw-guest.ts';
import { sha256 } from './hash.ts';

const mebibyte = 2 ** 20;
const echo = 'org.example.echo';

/** Device numbers. */
const at = { console: 0x1000, blk: 0x2000, entropy: 0x3000 } as const;

interface Case {
  readonly revision: Revision;
  /** Those whose queues interrupt by way of adapter interruptions. */
  readonly adapter: readonly (keyof typeof at)[];
}

/** Both kinds of interrupt at each revision, and each device with both. */
describe.each<Case>([
  { revision: 0, adapter: ['blk'] },
  { revision: 1, adapter: ['console', 'entropy'] },
  { revision: 2, adapter: ['blk'] },
])('Linux drives our devices at revision $revision', ({ revision, adapter }) => {
  const storage = memoryStorage(2 * mebibyte);
  const given: Buffer[] = [];
  const echoes: Buffer[] = [];
  let guest: CcwGuest;

  beforeAll(async () => {
    storage.bytes.set(randomBytes(storage.bytes.length));
    const present = (name: keyof typeof at): Presentation => ({
      devno: at[name],
      revision,
      adapterInterrupts: adapter.includes(name),
      ...(revision === 0 ? { legacy: legacyCcwDevice() } : {}),
    });
    const entropy = entropyDevice({
      source(target) {
        crypto.getRandomValues(target);
        given.push(Buffer.from(target));
      },
    });
    guest = await CcwGuest.boot({
      presentConsole: present('console'),
      devices: [
        [blkDevice({ storage, id: 'the-disk' }), present('blk')],
        [entropy, present('entropy')],
      ],
      ports: [{ name: echo, onData: (data) => void echoes.push(Buffer.from(data)) }],
    });
  });
  afterAll(() => guest?.stop());

  /** Folder of a device's virtio side in sysfs. */
  const folder = (name: keyof typeof at): string =>
    `/sys/bus/ccw/devices/0.0.${at[name].toString(16)}/virtio?`;

  test('finds them behind QEMU’s own subchannel, and binds its drivers to them', async () => {
    expect(await guest.text('ls -1 /sys/bus/css/devices')).toBe('0.0.0000\n0.0.0001\n0.0.0002\n0.0.0003');
    const bound = await guest.text(
      `for one in ${folder('console')} ${folder('blk')} ${folder('entropy')}
       do echo $(basename $(readlink $one/driver)) $(cut -c33 $one/features); done`,
    );
    const version1 = revision === 0 ? 0 : 1;
    expect(bound.split('\n')).toEqual(
      ['virtio_console', 'virtio_blk', 'virtio_rng'].map((driver) => `${driver} ${version1}`),
    );
    const revisions = guest.host.subsystem.schids.map((schid) => guest.host.subsystem.unit(schid).revision);
    expect(revisions).toEqual([revision, revision, revision]);
  });

  test('reads the disk, and is interrupted as the device can', async () => {
    expect(await guest.text('cat /sys/block/vda/serial')).toBe('the-disk');
    expect(await guest.text('cat /sys/block/vda/size')).toBe(String((2 * mebibyte) / 512));
    const before = await guest.interrupts();
    expect(await guest.text('sha256sum </dev/vda')).toBe(`${sha256(storage.bytes)}  -`);
    const after = await guest.interrupts();
    const kind = adapter.includes('blk') ? 'adapter' : 'classic';
    // Nothing else that is at work here interrupts in this way.
    expect(after[kind]).toBeGreaterThan(before[kind]);
  });

  test('writes the disk', async () => {
    const [inside] = (
      await guest.text(
        `head -c 1000000 /dev/urandom >/tmp/r && dd if=/tmp/r of=/dev/vda bs=64k seek=3 conv=fsync 2>/dev/null
         sha256sum </tmp/r; rm /tmp/r`,
      )
    ).split(' ');
    expect(sha256(storage.bytes.subarray(3 * 65_536, 3 * 65_536 + 1_000_000))).toBe(inside);
    expect(await guest.text('echo 1 >/proc/sys/vm/drop_caches; sha256sum </dev/vda')).toBe(
      `${sha256(storage.bytes)}  -`,
    );
  });

  test('takes entropy, which is what the source gave', async () => {
    given.length = 0;
    const { output, status } = await guest.exec('head -c 1024 /dev/hwrng');
    expect(status).toBe(0);
    // The driver keeps bytes of a request that was there before: what comes next is ours.
    expect(Buffer.concat(given).indexOf(output.subarray(-128))).toBeGreaterThanOrEqual(0);
  });

  test('carries bytes over the console and a port of it, both ways', async () => {
    const sent = randomBytes(20_000);
    const inward = guest.exec(`head -c ${sent.length} | sha256sum`);
    await Promise.all([guest.console.console.write(sent), inward]);
    expect((await inward).output.toString()).toBe(`${sha256(sent)}  -\n`);

    const { output } = await guest.exec('head -c 20000 /dev/urandom >/tmp/r; sha256sum </tmp/r; cat /tmp/r');
    const lineEnd = output.indexOf('\n') + 1;
    expect(output.subarray(0, lineEnd).toString()).toBe(`${sha256(output.subarray(lineEnd))}  -\n`);

    const port = `/dev/$(basename $(dirname $(grep -lx ${echo} /sys/class/virtio-ports/*/name)))`;
    const echoed = guest.exec(`exec 3<>${port}; head -c ${sent.length} <&3 >&3`);
    await Promise.all([guest.console.port(echo).write(sent), echoed]);
    expect((await echoed).status).toBe(0);
    expect(sha256(Buffer.concat(echoes))).toBe(sha256(sent));
  });

  test('hears of a change of the configuration', async () => {
    guest.console.console.resize(132, 43);
    let size = '';
    for (let tries = 0; tries < 20 && size !== '43 132'; tries++) size = await guest.text('stty size');
    expect(size).toBe('43 132');
  });

  test('lets go of a device and takes it again', async () => {
    await guest.text(
      `cd /sys/bus/virtio/drivers/virtio_blk && one=$(echo virtio?) && echo $one >unbind && ! [ -e $one ] &&
       echo $one >bind && sha256sum </dev/vda | grep ${sha256(storage.bytes)}`,
    );
    await guest.text(
      `cd /sys/bus/ccw/devices/0.0.${at.entropy.toString(16)} && echo 0 >online && echo 1 >online &&
       head -c 64 /dev/hwrng >/dev/null`,
    );
  });

  test('drives QEMU’s own device beside them', async () => {
    await guest.text('modprobe virtio_balloon');
    const { qmp } = guest.host.machine;
    const wanted = 240 * mebibyte;
    await qmp.execute('balloon', { value: wanted });
    let actual: unknown;
    for (let tries = 0; tries < 50 && actual !== wanted; tries++) {
      await guest.text('true');
      ({ actual } = Object(await qmp.execute('query-balloon')));
    }
    expect(actual).toBe(wanted);
  });

  test('does nothing that the devices would complain of', () => {
    expect(guest.complaints).toEqual([]);
  });
});
