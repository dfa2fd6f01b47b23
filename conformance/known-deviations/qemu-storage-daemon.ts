import type { KnownDeviation } from './deviation.ts';

const version = 'QEMU 10.0.2';
const devices = ['blk'];
const gone = /closed the connection/;

/**
 * What the vhost-user block device of QEMU's storage daemon does otherwise than the specification has it. It is not QEMU's
 * own device: another library looks at the rings. A record that is not true any more fails a test.
 */
export const storageDaemonKnownDeviations: readonly KnownDeviation[] = [
  {
    clause: 'device: Basic Facilities of a Virtio Device / Device Status Field',
    number: '2.1.2',
    statement: 'sets DEVICE_NEEDS_RESET in an error state and sends a configuration change notification',
    devices,
    does: 'closes the connection when a queue is broken, and tells nobody why (a SHOULD)',
    seen: gone,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    number: '2.2.2',
    statement: 'offers no bit that is reserved, or that neither its type nor the specification describes',
    devices,
    does: 'offers bit 24, VIRTIO_F_NOTIFY_ON_EMPTY of the legacy interface, beside VERSION_1',
    seen: /\[24\]/,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Device Reset',
    number: '2.4.1',
    statement: 'shows 0 as its status after a reset with a buffer in flight, or with a broken queue',
    devices,
    does: 'closes the connection when a queue is broken: there is nothing left to reset',
    seen: gone,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    number: '2.7.4.1',
    statement: 'answers a request alike with empty elements in between',
    devices,
    does: 'takes an element of length 0 for a broken queue, and closes the connection',
    seen: gone,
    version,
  },
  {
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    number: '2.7.5.3.2',
    statement: 'handles direct descriptors that are followed by one indirect descriptor',
    devices,
    where: ({ indirect }) => indirect,
    does: 'takes a descriptor with INDIRECT for a table only where it is the first of its chain',
    seen: /never happens: the device uses the buffer/,
    version,
  },
];
