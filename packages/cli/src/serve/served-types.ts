import { webcrypto } from 'node:crypto';
import type { Device } from 'virtio/device';
import { blk, blkDevice, memoryStorage, type Storage } from 'virtio/devices/blk';
import { consoleDevice, consoleType } from 'virtio/devices/console';
import { entropy, entropyDevice } from 'virtio/devices/entropy';
import { fs } from 'virtio/devices/fs';
import { net } from 'virtio/devices/net';
import { vsock } from 'virtio/devices/vsock';
import { HostError } from 'virtio/errors';
import type { DeviceType } from 'virtio/spec';
import { openStorage } from 'virtio-node/storage';
import { refused, usage } from '../exit-status.ts';
import { makeNetDevice } from '../network/device.ts';
import { openNetworks } from '../network/open.ts';
import { pump, writeTo } from '../run/host-streams.ts';
import { openSocketsAt } from '../run/sockets.ts';
import { openServedShare } from '../share/open.ts';
import type { ServedName, ServePlan } from './plan.ts';

/** A device that is ready to be served. */
export interface ReadyDevice {
  readonly device: Device;
  /** What there is to know of it, for people. */
  readonly lines?: readonly string[];
  /** Makes everything stable and lets go of it. */
  close(): Promise<void>;
}

/** Whom a device tells what becomes of it. */
export interface ServedEvents {
  /** What lies beneath it fails. */
  readonly onError: (error: HostError) => void;
  /** Something to know of. */
  readonly notice: (message: string) => void;
}

/** A device type that `virtio serve` knows. */
export interface ServedType {
  readonly name: ServedName;
  readonly type: DeviceType;
  /** As the discovery files of back ends call it, and what such a program can be asked for. */
  readonly backend: { readonly type: string; readonly features?: readonly string[] };
  /** QEMU's front end for it. */
  readonly qemu: string;
  /** That connects again to a program that was started anew; others of QEMU's fail at once with a socket that does. */
  readonly qemuReconnects?: true;
  make(plan: ServePlan, events: ServedEvents): Promise<ReadyDevice>;
}

/**
 * Elements in a request's data. A driver takes it for what fits, and front ends make queues smaller than they might: QEMU's
 * have 128 descriptors, two of which are a request's own.
 */
const segMax = 126;

const nothing = async (): Promise<void> => {};

/** Every device type that can be served. */
export const servedTypes: readonly ServedType[] = [
  {
    name: 'blk',
    type: blk,
    backend: { type: 'block', features: ['read-only', 'blk-file'] },
    qemu: 'vhost-user-blk-pci',
    qemuReconnects: true,
    async make(plan, { onError }) {
      const storage = await openDisk(plan);
      const { queues, queueSize, reserved, serial: id, readOnly } = plan;
      const cache = plan.writeThrough ? 'writethrough' : 'writeback';
      return {
        device: blkDevice({ storage, queues, queueSize, reserved, id, readOnly, cache, segMax, onError }),
        async close() {
          if (!storage.readOnly) await storage.flush();
          await storage.close?.();
        },
      };
    },
  },
  {
    name: 'console',
    type: consoleType,
    backend: { type: 'console' },
    // QEMU has none of its own, and since QEMU 11 one for everything, which is told: one port of MULTIPORT has four queues.
    qemu: `vhost-user-test-device-pci,virtio-id=${consoleType.id},num_vqs=4,config_size=${consoleType.config.size}`,
    async make({ reserved }) {
      const device = consoleDevice({
        reserved,
        maxPorts: 1,
        onData: (bytes) => writeTo(process.stdout, bytes),
      });
      void pump(
        process.stdin,
        (bytes) => device.console.write(bytes),
        () => {},
      ).catch(() => {});
      return { device, close: nothing };
    },
  },
  {
    name: 'entropy',
    type: entropy,
    backend: { type: 'rng' },
    qemu: 'vhost-user-rng-pci',
    async make({ reserved }) {
      const source = (target: Uint8Array<ArrayBuffer>): unknown => webcrypto.getRandomValues(target);
      return { device: entropyDevice({ source, reserved }), close: nothing };
    },
  },
  {
    name: 'vsock',
    type: vsock,
    backend: { type: 'vsock' },
    qemu: 'vhost-user-vsock-pci',
    // A plan for this type has a path.
    make: async ({ udsPath = '', guestCid, siblings, reserved }) =>
      openSocketsAt(udsPath, '--uds-path', { guestCid, reserved }, { siblings }),
  },
  {
    name: 'fs',
    type: fs,
    // Options of their own, as younger versions of virtiofsd have them.
    backend: { type: 'fs', features: ['separate-options'] },
    qemu: 'vhost-user-fs-pci',
    async make({ share, queues, queueSize, reserved }, { onError }) {
      if (share === undefined) throw new Error('a plan for a share has one');
      const opened = openServedShare(share, { queues, queueSize, reserved }, (error) => {
        if (error instanceof HostError) onError(error);
      });
      return { device: opened.device, close: async () => opened.close() };
    },
  },
  {
    name: 'net',
    type: net,
    backend: { type: 'net' },
    qemu: 'virtio-net-pci',
    qemuReconnects: true,
    async make({ net: plan, capture, queues: queuePairs, ...limits }, { notice }) {
      const { queueSize, reserved, offloads, mergeable } = limits;
      const makeDevice = () => makeNetDevice(plan, { queuePairs, queueSize, reserved, offloads, mergeable });
      const opened = await openNetworks([plan], makeDevice, capture, {
        notice: (_, message) => notice(message),
      });
      const [network] = opened.networks;
      if (network === undefined) throw new Error('a plan for one network makes one');
      return {
        device: network.device,
        lines: network.lines,
        async close() {
          await opened.close();
          if (opened.captureError !== undefined) throw opened.captureError;
        },
      };
    },
  },
];

/** What is known of a type. */
export function servedType(name: ServedName): ServedType {
  const type = servedTypes.find((one) => one.name === name);
  if (type === undefined) throw new Error(`nobody makes a ${name}`);
  return type;
}

async function openDisk(plan: ServePlan): Promise<Storage> {
  const { blkFile, scratch, readOnly, direct, format } = plan;
  if (plan.null !== undefined) return nullStorage(plan.null);
  if (blkFile === undefined) return memoryStorage(scratch ?? 0);
  try {
    return await openStorage(blkFile, { readOnly, direct, ...(format === undefined ? {} : { format }) });
  } catch (error) {
    if (!(error instanceof HostError) || error.code !== 'IN_USE') throw refused('--blk-file', error);
    throw usage(
      `--blk-file ${blkFile} is in use by another program; end that one, or give both --read-only`,
      error,
    );
  }
}

/** A disk of zeroes that forgets what is written: what is measured on it is the way there and back. */
function nullStorage(size: number): Storage {
  return {
    size,
    readOnly: false,
    immediate: true,
    read: (_, target) => void target.fill(0),
    write() {},
    flush() {},
  };
}
