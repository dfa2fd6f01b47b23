import type { ClauseId } from './spec/clauses.ts';

// Every way in which the other side can break the specification, and the clause that forbids it. There are several
// tables, so that a bundle carries those of what is in it.

/** What a device may find its driver to do. */
export const driverMistakes = {
  /** The available index moved by more than the queue size. */
  AVAILABLE_INDEX_JUMP:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Available Ring',
  /** A descriptor index (head or next) is not below the queue size. */
  DESCRIPTOR_OUT_OF_RANGE:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
  /** A chain has more descriptors than the queue size: a loop, or simply too long. */
  CHAIN_TOO_LONG:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** A chain is longer than 2^32 bytes in total. */
  CHAIN_TOO_LARGE:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
  /** A device-readable element follows a device-writable one. */
  READABLE_AFTER_WRITABLE: 'driver: Basic Facilities of a Virtio Device / Message Framing',
  /** The INDIRECT flag without VIRTIO_F_INDIRECT_DESC. */
  INDIRECT_NOT_NEGOTIATED:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** The INDIRECT flag inside an indirect table. */
  INDIRECT_NESTED:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** INDIRECT and NEXT in one split descriptor. */
  INDIRECT_WITH_NEXT:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** An indirect table that is empty or not a whole number of descriptors. */
  INDIRECT_TABLE_SIZE:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** With VIRTIO_F_IN_ORDER: descriptors out of ring order. */
  DESCRIPTORS_OUT_OF_ORDER:
    'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
  /** A head that is in flight was made available again. */
  HEAD_IN_FLIGHT: 'driver: General Initialization And Device Operation / Device Cleanup',
  /** A queue size that is zero, above the maximum, or (split) not a power of two. */
  QUEUE_SIZE_INVALID:
    'driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout',
  /** A queue area that is misaligned. */
  QUEUE_MISALIGNED: 'driver: Basic Facilities of a Virtio Device / Virtqueues',
  /** The driver accepted a feature that was not offered, or one without what it requires. */
  FEATURES_REFUSED: 'driver: Basic Facilities of a Virtio Device / Feature Bits',
  /** A step of the initialisation sequence came too early or twice, or a status bit was cleared. */
  STATUS_SEQUENCE: 'driver: General Initialization And Device Operation / Device Initialization',
  /** A status bit was cleared without a reset. */
  STATUS_BIT_CLEARED: 'driver: Basic Facilities of a Virtio Device / Device Status Field',
  /** A notification for a queue before DRIVER_OK, or for one that does not exist. */
  NOTIFICATION_UNEXPECTED: 'driver: General Initialization And Device Operation / Device Initialization',
} as const satisfies Record<string, ClauseId>;

/** The same in a packed ring. */
export const packedRingMistakes = {
  /** INDIRECT within a list linked by NEXT, in a packed ring. */
  PACKED_INDIRECT_IN_CHAIN:
    'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** The INDIRECT flag in a packed ring without VIRTIO_F_INDIRECT_DESC. */
  PACKED_INDIRECT_NOT_NEGOTIATED:
    'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
  /** A packed descriptor was made available again before the device used it. */
  PACKED_DESCRIPTOR_IN_FLIGHT:
    'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
  /** A packed list longer than the queue size. */
  PACKED_CHAIN_TOO_LONG:
    'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
  /** The first descriptor of a packed list was made available before the rest of it. */
  PACKED_CHAIN_INCOMPLETE:
    'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
  /** A buffer id that is not below the queue size, or is in flight already. */
  BUFFER_ID_INVALID:
    'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
  /** An area of a packed queue that is misaligned. */
  PACKED_QUEUE_MISALIGNED: 'driver: Basic Facilities of a Virtio Device / Packed Virtqueues',
} as const satisfies Record<string, ClauseId>;

/** What a device may find its driver to do on Channel I/O. */
export const channelIoMistakes = {
  /** A command of virtio's own before the revision was set, on a device that knows no legacy drivers. */
  REVISION_NOT_SET:
    'driver: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision',
} as const satisfies Record<string, ClauseId>;

/** What a driver may find its device to do. */
export const deviceMistakes = {
  /** The device used more buffers than are in flight. */
  USED_INDEX_JUMP: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring',
  /** The device returned an id that is not in flight. */
  USED_ID_INVALID: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring',
  /** With VIRTIO_F_IN_ORDER: the device used a buffer before one that was made available earlier. */
  USED_OUT_OF_ORDER: 'device: Reserved Feature Bits',
  /** The device reported more bytes than the buffer has device-writable ones. */
  USED_LENGTH_INVALID: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring',
  /** The configuration generation never settled. */
  GENERATION_UNSTABLE: 'device: Basic Facilities of a Virtio Device / Device Configuration Space',
  /** The device offers a feature without one that it requires, or lacks VIRTIO_F_VERSION_1. */
  OFFER_INVALID: 'device: Basic Facilities of a Virtio Device / Feature Bits',
  /** The device did not keep FEATURES_OK. */
  FEATURES_NOT_ACCEPTED: 'device: Basic Facilities of a Virtio Device / Feature Bits',
  /** The device's status does not follow a reset, a queue reset or a suspend. */
  RESET_INCOMPLETE: 'device: Basic Facilities of a Virtio Device / Device Reset',
  /** The device shows an event for ever, however often the driver acknowledges it. */
  INTERRUPT_STUCK: 'device: Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout',
  /** The device set DEVICE_NEEDS_RESET. */
  DEVICE_NEEDS_RESET: 'device: Basic Facilities of a Virtio Device / Device Status Field',
} as const satisfies Record<string, ClauseId>;

/** What the specification implies without a clause of its own, or a device type's chapter forbids. */
export type ClauselessCode =
  /** An address that is not in guest memory, or an element that leaves its region. */
  | 'ADDRESS_OUT_OF_BOUNDS'
  /** An element of length zero, where the device cannot use one. */
  | 'EMPTY_ELEMENT'
  /** A register access that the transport does not define: a hole, or a wrong width. */
  | 'REGISTER_ACCESS'
  /** A request that the device type's chapter does not allow. */
  | 'BAD_REQUEST'
  /** A message between processes (vhost-user, vfio-user) that the protocol does not allow, or not then. */
  | 'BAD_MESSAGE'
  /** The device returned a buffer id that is not in flight, in a packed ring. */
  | 'PACKED_USED_ID_INVALID'
  /** A queue that the device type must have is not there. */
  | 'QUEUE_MISSING'
  /** A configuration structure or capability of the device is not well-formed. */
  | 'LAYOUT_INVALID'
  /** A Channel I/O device takes no revision that the driver knows. */
  | 'REVISION_REFUSED'
  /** A command of the transport ended otherwise than a sound device ends it: a channel program, a message. */
  | 'COMMAND_FAILED'
  /** A response that the device type's chapter does not allow. */
  | 'BAD_RESPONSE'
  /** The indirect table of a packed ring is empty, or not a whole number of descriptors. */
  | 'PACKED_INDIRECT_TABLE_SIZE';

/** The codes whose clause every PeerError knows; the others bring theirs along. */
export type CommonErrorCode = ClauselessCode | keyof typeof driverMistakes;

/** The stable codes of {@link PeerError}. */
export type PeerErrorCode =
  | CommonErrorCode
  | keyof typeof packedRingMistakes
  | keyof typeof channelIoMistakes
  | keyof typeof deviceMistakes;

/** Any of the tables, to be asked for the clause of any code. */
export type ErrorClauses = Readonly<Partial<Record<PeerErrorCode, ClauseId | undefined>>>;
