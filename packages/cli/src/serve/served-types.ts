import type { ServedName } from './plan.ts';
import type { MakeDevice } from './ready-device.ts';

/** A device type that `virtio serve` knows. */
export interface ServedType {
  readonly name: ServedName;
  /** The virtio device id. */
  readonly id: number;
  /** As the discovery files of back ends call it, and what such a program can be asked for. */
  readonly backend: { readonly type: string; readonly features?: readonly string[] };
  /** QEMU's front end for it. */
  readonly qemu: string;
  /** That connects again to a program that was started anew; others of QEMU's fail at once with a socket that does. */
  readonly qemuReconnects?: true;
  /** What makes one. A back end loads what its own type needs, so that it is ready at once and small. */
  load(): Promise<{ readonly make: MakeDevice }>;
}

/** Every device type that can be served. */
export const servedTypes: readonly ServedType[] = [
  {
    name: 'blk',
    id: 2,
    backend: { type: 'block', features: ['read-only', 'blk-file'] },
    qemu: 'vhost-user-blk-pci',
    qemuReconnects: true,
    load: () => import('./types/blk.ts'),
  },
  {
    name: 'console',
    id: 3,
    backend: { type: 'console' },
    // QEMU has none of its own, and since QEMU 11 one for everything, which is told: one port of MULTIPORT has four queues.
    qemu: 'vhost-user-test-device-pci,virtio-id=3,num_vqs=4,config_size=12',
    load: () => import('./types/console.ts'),
  },
  {
    name: 'entropy',
    id: 4,
    backend: { type: 'rng' },
    qemu: 'vhost-user-rng-pci',
    load: () => import('./types/entropy.ts'),
  },
  {
    name: 'vsock',
    id: 19,
    backend: { type: 'vsock' },
    qemu: 'vhost-user-vsock-pci',
    load: () => import('./types/vsock.ts'),
  },
  {
    name: 'fs',
    id: 26,
    // Options of their own, as younger versions of virtiofsd have them.
    backend: { type: 'fs', features: ['separate-options'] },
    qemu: 'vhost-user-fs-pci',
    load: () => import('./types/fs.ts'),
  },
  {
    name: 'net',
    id: 1,
    backend: { type: 'net' },
    qemu: 'virtio-net-pci',
    qemuReconnects: true,
    load: () => import('./types/net.ts'),
  },
];

/** What is known of a type. */
export function servedType(name: ServedName): ServedType {
  const type = servedTypes.find((one) => one.name === name);
  if (type === undefined) throw new Error(`nobody makes a ${name}`);
  return type;
}
