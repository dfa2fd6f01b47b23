import { consoleType } from 'virtio/devices/console';
import { transitionalIds } from 'virtio/transports/pci';
import { expect, it } from 'vitest';
import { deviceTypes } from '../device-types.ts';
import type { ServeArguments } from './arguments.ts';
import { qemuArguments, shellWords, umlArgument } from './attach.ts';
import { planServe } from './plan.ts';
import { servedType, servedTypes } from './served-types.ts';

const typed: ServeArguments = {
  socketPath: '/run/d.sock',
  printCapabilities: false,
  printQemuArgs: false,
  queues: '1',
  packed: true,
  eventIdx: true,
  indirect: true,
  inflight: true,
  sealedMemory: false,
  readOnly: false,
  direct: false,
  writeThrough: false,
  readonly: false,
  writeback: false,
  xattr: false,
  locks: false,
  announceSubmounts: false,
  uidMap: [],
  gidMap: [],
  sibling: [],
  offloads: true,
  mergeable: true,
  once: false,
  json: false,
};

it.each<[string, Partial<ServeArguments>, RegExp]>([
  ['foo', {}, /no device type foo here; there are blk, console, entropy, net, vsock, fs/],
  ['blk', {}, /one of --blk-file FILE, --scratch MIB/],
  ['blk', { blkFile: 'a', scratch: '1' }, /one of --blk-file FILE, --scratch MIB/],
  ['blk', { scratch: '1', null: '1' }, /one of --blk-file FILE, --scratch MIB/],
  ['blk', { blkFile: 'a', format: 'vmdk' }, /--format vmdk is neither raw nor qcow2/],
  ['blk', { scratch: '0' }, /--scratch 0 is not between 1 and/],
  ['blk', { scratch: '1', serial: 'x'.repeat(21) }, /longer than 20 characters/],
  ['blk', { scratch: '1', queues: '65' }, /--queues 65 is not between 1 and 64/],
  ['blk', { scratch: '1', queueSize: '100' }, /--queue-size 100 is no power of two/],
  ['entropy', { queues: '2' }, /--queues 2: entropy has one queue of each kind; leave --queues out/],
  ['entropy', { queueSize: '64' }, /--queue-size is for blk, fs, net/],
  ['entropy', { serial: 'x' }, /--serial is for disks/],
  ['entropy', { writeThrough: true }, /--write-through is for disks/],
  ['blk', { scratch: '1', format: 'raw' }, /--format is for images: give --blk-file FILE/],
  ['blk', { scratch: '1', direct: true }, /--direct is for images/],
  ['entropy', { socketPath: '' }, /--socket-path is empty/],
  ['entropy', { blkFile: 'a' }, /--blk-file is for disks/],
  ['entropy', { readOnly: true }, /--read-only is for disks/],
  ['entropy', { udsPath: '/run/v' }, /--uds-path is for sockets: virtio serve vsock --uds-path/],
  ['vsock', {}, /sockets need --uds-path PATH/],
  ['vsock', { udsPath: '/run/v', guestCid: '2' }, /--guest-cid 2 is not between 3 and 4294967294/],
  ['vsock', { udsPath: '/run/v', scratch: '1' }, /--scratch is for disks/],
  ['vsock', { udsPath: '/run/v', sibling: ['4'] }, /--sibling 4: give CID=PATH/],
  ['vsock', { udsPath: '/run/v', sibling: ['2=/run/w'] }, /with a CID from 3 on/],
  ['vsock', { udsPath: '/run/v', sibling: ['4=/run/w', '4=/run/x'] }, /--sibling 4 is given twice/],
  ['net', { sibling: ['4=/run/w'] }, /--sibling is for sockets/],
  ['entropy', { sharedDir: '.' }, /--shared-dir is for folders/],
  ['fs', {}, /--shared-dir DIR/],
  ['fs', { sharedDir: '.', tag: 'a b' }, /--tag: a b is no tag/],
  ['fs', { sharedDir: '.', cache: 'some' }, /--cache some is none of never, metadata, auto, always/],
  ['fs', { sharedDir: '.', readonly: true, writeback: true }, /does not go with --readonly/],
  ['fs', { sharedDir: '.', sandbox: 'chroot' }, /there is none here but `none`/],
  ['fs', { sharedDir: '.', uidMap: ['1:2'] }, /--uid-map 1:2: give GUEST:HOST:COUNT/],
  ['entropy', { net: 'user' }, /--net is for networks/],
  ['blk', { scratch: '1', offloads: false }, /--no-offloads is for networks/],
  ['net', { net: 'none' }, /needs a network/],
  ['net', { net: 'tap' }, /--net tap names no interface/],
  ['net', { mac: 'x' }, /--mac x: a MAC address has six bytes/],
  ['net', { mtu: '9' }, /--mtu 9: an MTU/],
  ['net', { serial: 'x'.repeat(21) }, /--serial is for disks/],
  ['entropy', { fd: '4' }, /one of --socket-path PATH and --fd NUMBER/],
  ['entropy', { socket: 'b' }, /one of --socket-path PATH and --fd NUMBER/],
])('refuses to serve %s with %j', (name, options, message) => {
  expect(() => planServe(name, { ...typed, ...options })).toThrow(message);
});

it('takes a socket by either name, and a descriptor', () => {
  const { socketPath: _, ...without } = typed;
  expect(planServe('entropy', { ...without, socket: 'b' }).at).toBe('b');
  expect(planServe('entropy', { ...without, fd: '3' }).at).toBe(3);
  expect(() => planServe('entropy', { ...without, fd: '2' })).toThrow(/no descriptor of a socket/);
  expect(() => planServe('entropy', without)).toThrow(/give one/);
});

it('offers what it is told to', () => {
  expect(planServe('entropy', typed).reserved).toEqual([
    'VERSION_1',
    'INDIRECT_DESC',
    'EVENT_IDX',
    'RING_PACKED',
    'RING_RESET',
  ]);
  const plain = planServe('entropy', { ...typed, packed: false, eventIdx: false, indirect: false });
  expect(plain.reserved).toEqual(['VERSION_1', 'RING_RESET']);
});

it('says how to attach what it serves', () => {
  const plan = planServe('blk', { ...typed, scratch: '8', queues: '2' });
  expect(shellWords(qemuArguments(plan) ?? [])).toBe(
    '-m 512M -object memory-backend-memfd,id=shared,size=512M,share=on -machine memory-backend=shared ' +
      '-chardev socket,id=vhost-blk,path=/run/d.sock,reconnect-ms=1000 ' +
      '-device vhost-user-blk-pci,chardev=vhost-blk,num-queues=2,packed=on',
  );
  expect(umlArgument(plan)).toBe('virtio_uml.device=/run/d.sock:2');
  // QEMU has no front end of its own for it; and where it has one, not every one of them waits for a socket.
  expect(shellWords(qemuArguments(planServe('console', typed))?.slice(6) ?? [])).toBe(
    '-chardev socket,id=vhost-console,path=/run/d.sock ' +
      '-device vhost-user-test-device-pci,virtio-id=3,num_vqs=4,config_size=12,chardev=vhost-console,packed=on',
  );
  const sibling = ['8=/run/a=b', '9=c'];
  const sockets = planServe('vsock', { ...typed, udsPath: '/run/v', guestCid: '7', sibling });
  expect(sockets.guestCid).toBe(7);
  expect([...sockets.siblings]).toEqual([
    [8, '/run/a=b'],
    [9, 'c'],
  ]);
  expect(qemuArguments(sockets)?.at(-1)).toBe('vhost-user-vsock-pci,chardev=vhost-vsock,packed=on');
  expect(umlArgument(sockets)).toBe('virtio_uml.device=/run/d.sock:19');
  const named = planServe('entropy', { ...typed, socketPath: '@a,b' });
  expect(qemuArguments(named)?.at(-3)).toBe('socket,id=vhost-entropy,path=a,,b,abstract=on');
  expect(umlArgument(named)).toBeUndefined();
  const namedPci = planServe('entropy', { ...typed, socketPath: '@a', vfioUser: true });
  expect(qemuArguments(namedPci)?.at(-1)).toContain('"path":"a","abstract":true');
  const pci = planServe('console', { ...typed, vfioUser: true });
  expect(shellWords(qemuArguments(pci) ?? [])).toBe(
    '-m 512M -object memory-backend-memfd,id=shared,size=512M,share=on -machine memory-backend=shared ' +
      `-device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/run/d.sock"}}'`,
  );
  expect(umlArgument(pci)).toBeUndefined();
  expect(shellWords(["it's"])).toBe(`'it'\\''s'`);
});

it('shares a folder as virtiofsd does', () => {
  const plan = planServe('fs', { ...typed, sharedDir: '/srv', tag: 'x', uidMap: [':0:100:9:', '9:1:1'] });
  expect(plan.share).toMatchObject({ folder: '/srv', tag: 'x', cache: 'auto', readOnly: false });
  expect(plan.share?.users).toEqual([
    { guest: 0, host: 100, count: 9 },
    { guest: 9, host: 1, count: 1 },
  ]);
  expect(planServe('fs', { ...typed, sharedDir: '/srv', sandbox: 'none' }).share?.tag).toBe('virtiofs');
  expect(shellWords(qemuArguments(plan)?.slice(-1) ?? [])).toBe(
    'vhost-user-fs-pci,chardev=vhost-fs,tag=x,queue-size=1024,num-request-queues=1',
  );
  expect(umlArgument(plan)).toBe('virtio_uml.device=/run/d.sock:26');
});

it('says how to attach a network device', () => {
  const plan = planServe('net', { ...typed, queues: '4', mac: '2:0:0:0:0:a', mtu: '9000', net: 'tap:t' });
  expect(plan.net).toMatchObject({ kind: 'tap', name: 't', mtu: 9000 });
  expect(shellWords(qemuArguments(plan)?.slice(6) ?? [])).toBe(
    '-chardev socket,id=vhost-net,path=/run/d.sock,reconnect-ms=1000 ' +
      '-netdev vhost-user,id=vhost-net,chardev=vhost-net,queues=4 ' +
      '-device virtio-net-pci,netdev=vhost-net,packed=on,mq=on,vectors=10,mac=02:00:00:00:00:0a,host_mtu=9000',
  );
  expect(umlArgument(plan)).toBe('virtio_uml.device=/run/d.sock:1');
});

it('lends a PCI function for the drivers it is told', () => {
  const lent = (vfioUser: string | boolean) => planServe('entropy', { ...typed, vfioUser }).vfioUser;
  expect([lent(true), lent('legacy'), lent('transitional')]).toEqual(['modern', 'legacy', 'transitional']);
  expect(planServe('entropy', typed).vfioUser).toBeUndefined();
  expect(() => lent('old')).toThrow('--vfio-user old is none of modern, transitional, legacy');
});

it.each(servedTypes)('knows the id of a $name without loading it', ({ name, id }) => {
  expect(deviceTypes.find(({ type }) => type.name === name)?.type.id).toBe(id);
});

it('has QEMU told what a console is', () => {
  const { qemu } = servedType('console');
  expect(qemu).toContain(`virtio-id=${consoleType.id},`);
  expect(qemu).toContain(`config_size=${consoleType.config.size}`);
});

it.each(servedTypes)('lends a $name for legacy drivers where they know such a device', ({ name, id }) => {
  const needed: Partial<Record<string, Partial<ServeArguments>>> = {
    blk: { scratch: '1' },
    vsock: { udsPath: 'v' },
    fs: { sharedDir: '.' },
  };
  const plan = (vfioUser: string) => planServe(name, { ...typed, ...needed[name], vfioUser });
  expect(plan('modern').vfioUser).toBe('modern');
  if (transitionalIds[id] !== undefined) expect(plan('legacy').vfioUser).toBe('legacy');
  else expect(() => plan('legacy')).toThrow(`legacy drivers know no device of the type ${name}`);
});
