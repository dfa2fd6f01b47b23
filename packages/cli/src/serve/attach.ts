import { resolve } from 'node:path';
import { macText } from 'virtio/link';
import type { ServePlan } from './plan.ts';
import { servedType } from './served-types.ts';

/** What QEMU is to be started with, beside what the machine has anyway: its memory must be there for others to map. */
export function qemuArguments(plan: ServePlan, memory = '512M'): string[] | undefined {
  const { at, packed, queues, queueSize, share, net } = plan;
  const type = servedType(plan.type);
  if (typeof at === 'number') return undefined;
  const machine = [
    ...['-m', memory, '-object', `memory-backend-memfd,id=shared,size=${memory},share=on`],
    ...['-machine', 'memory-backend=shared'],
  ];
  if (plan.vfioUser !== undefined) {
    const socket = isName(at)
      ? { type: 'unix', path: at.slice(1), abstract: true }
      : { type: 'unix', path: resolve(at) };
    return [...machine, '-device', JSON.stringify({ driver: 'vfio-user-pci', socket })];
  }
  const isNet = type.name === 'net';
  const device = [
    // QEMU is the network device itself, and knows us as one of its networks.
    isNet ? `${type.qemu},netdev=vhost-net` : `${type.qemu},chardev=vhost-${type.name}`,
    ...(type.name === 'blk' ? [`num-queues=${queues}`] : []),
    ...(share === undefined
      ? []
      : [`tag=${share.tag}`, `queue-size=${queueSize}`, `num-request-queues=${queues}`]),
    ...(packed && share === undefined ? ['packed=on'] : []),
    ...(isNet && queues > 1 ? [`mq=on,vectors=${2 * queues + 2}`] : []),
    ...(isNet && net.mac !== undefined ? [`mac=${macText(net.mac)}`] : []),
    ...(isNet && net.mtu !== undefined ? [`host_mtu=${net.mtu}`] : []),
  ];
  const netdev = ['-netdev', `vhost-user,id=vhost-net,chardev=vhost-${type.name},queues=${queues}`];
  return [
    ...machine,
    ...[
      '-chardev',
      `socket,id=vhost-${type.name},${socketOption(at)}${type.qemuReconnects ? ',reconnect-ms=1000' : ''}`,
    ],
    ...(isNet ? netdev : []),
    ...['-device', device.join(',')],
  ];
}

/** A name that is in no file system. */
const isName = (at: string): boolean => at.startsWith('@');

/** QEMU reads two commas as one that is part of a value. */
function socketOption(at: string): string {
  const path = (isName(at) ? at.slice(1) : resolve(at)).replaceAll(',', ',,');
  return isName(at) ? `path=${path},abstract=on` : `path=${path}`;
}

/** What user-mode Linux is to be started with. */
export function umlArgument({ type, at, vfioUser }: ServePlan): string | undefined {
  return typeof at === 'number' || vfioUser !== undefined || isName(at)
    ? undefined
    : `virtio_uml.device=${resolve(at)}:${servedType(type).id}`;
}

/** A command line, ready for a shell. */
export function shellWords(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}
