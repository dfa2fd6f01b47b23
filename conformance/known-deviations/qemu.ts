import type { KnownDeviation } from './deviation.ts';

const version = 'QEMU 10.0.2';
const every = ['entropy', 'blk', 'console'];

/** What QEMU's devices do otherwise than the specification has it. A record that is not true any more fails a test. */
export const qemuKnownDeviations: readonly KnownDeviation[] = [
  {
    clause: 'device: Basic Facilities of a Virtio Device / Device Status Field',
    number: '2.1.2',
    statement: 'uses no buffer and notifies of none before DRIVER_OK, even when it is kicked',
    devices: ['blk', 'console'],
    does: 'uses buffers as soon as it is kicked, whatever the status; entropy alone waits for DRIVER_OK',
    seen: /no buffer is used before DRIVER_OK/,
    races: true,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Device Status Field',
    number: '2.1.2',
    statement: 'sets DEVICE_NEEDS_RESET in an error state and sends a configuration change notification',
    devices: ['entropy', 'console'],
    does:
      'takes an element outside memory for one that is there: the console reads whatever the bus answers, entropy ' +
      'leaves a buffer without a writable byte in the ring for ever. Neither is an error to it (a SHOULD)',
    seen: /never happens: the device sets DEVICE_NEEDS_RESET/,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Feature Bits',
    number: '2.2.2',
    statement: 'does not keep FEATURES_OK when a feature was accepted that it did not offer',
    devices: every,
    does: 'forgets bits that it did not offer, and keeps FEATURES_OK as if they had not been accepted',
    seen: /FEATURES_OK with bit \d+: true, not false/,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    number: '2.7.4.1',
    statement: 'answers a request alike with empty elements in between',
    devices: every,
    where: ({ packed }) => !packed,
    does: 'breaks the device at an element of length 0 ("zero sized buffers are not allowed")',
    seen: /never happens: the device uses the buffer/,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    number: '2.7.4.1',
    statement: 'answers a request alike with empty elements in between',
    devices: ['console'],
    where: ({ packed }) => packed,
    does: 'breaks the device at an element of length 0, as in a split ring',
    seen: /never happens: the device uses the buffer/,
    version,
  },
  {
    clause: 'device: Basic Facilities of a Virtio Device / Message Framing',
    number: '2.7.4.1',
    statement: 'answers a request alike with empty elements in between',
    devices: ['entropy', 'blk'],
    where: ({ packed }) => packed,
    does:
      'breaks the device at an element of length 0, then looks at its packed ring for ever: a broken packed ring ' +
      'never counts as empty. All of QEMU hangs',
    seen: /does not end/,
    hangs: true,
    version,
  },
  {
    clause:
      'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    number: '2.7.5.3.2',
    statement: 'handles direct descriptors that are followed by one indirect descriptor',
    devices: ['entropy', 'blk'],
    where: ({ packed, indirect }) => !packed && indirect,
    does: 'takes a descriptor with INDIRECT for a table only where it is the first of its chain',
    seen: /never happens: the device uses the buffer/,
    version,
  },
  {
    clause: undefined,
    number: '2.8.5',
    statement: 'sets VIRTQ_DESC_F_WRITE in the used descriptor of a packed ring when it wrote to the buffer',
    devices: ['entropy'],
    does: 'never sets the flag, though it tells how many bytes it wrote',
    seen: /WRITE/,
    version,
  },
  {
    clause: undefined,
    number: '4.2.2',
    statement: 'shows and takes over MMIO every word of the feature bits that a selector names',
    devices: every,
    does:
      'takes every selector above 1 for 1: words 2 and 3 show the bits of word 1, and writing 0 to them takes back ' +
      'VERSION_1 and RING_PACKED',
    seen: /word/,
    version,
  },
  {
    clause: undefined,
    number: '5.3.6.2',
    statement: 'sends the name of a port without a NUL behind it',
    devices: ['console'],
    does: 'sends a NUL behind the name',
    seen: /NUL/,
    version,
  },
];
