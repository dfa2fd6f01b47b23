import { invalidField } from '../../../device/admin/refusal.ts';
import { isByte } from '../../../spec/is-byte.ts';
import { bytes, le16, struct, u8 } from '../../../spec/layout.ts';
import { decodeUtf8, encodeUtf8 } from '../../../spec/utf8.ts';
import { type PartKind, withCore, withQueue } from './part-kind.ts';
import { eachQueue, queueOf } from './queue-kinds.ts';

/**
 * Parts of ours, at the end of what is given to device types (0x200 to 0x5ff). The specification's parts say
 * nothing of where a device stands in its rings, nor of its configuration space or own state.
 */
export const ownPart = Object.freeze({ QUEUE_POSITION: 0x5f0, DEVICE_STATE: 0x5f1 } as const);

const position = struct('queue_position', {
  next_available: le16,
  next_used: le16,
  available_wrap: u8,
  used_wrap: u8,
  reserved: bytes(2),
});

/** Where the device stands in a ring. A device that is stopped has given back all that it took. */
export const queuePosition: PartKind = {
  type: ownPart.QUEUE_POSITION,
  read: (_, state) =>
    eachQueue(state, ({ ring }) =>
      position.encode({
        next_available: ring?.nextAvailable ?? 0,
        next_used: ring?.nextUsed ?? 0,
        available_wrap: ring?.availableWrap ?? 1,
        used_wrap: ring?.usedWrap ?? 1,
      }),
    ),
  take(_, state, value, selector) {
    const given = position.read(value);
    return withQueue(state, queueOf(selector), {
      ring: {
        nextAvailable: given.next_available,
        nextUsed: given.next_used,
        availableWrap: given.available_wrap,
        usedWrap: given.used_wrap,
        inFlight: [],
      },
    });
  },
};

/** Configuration space and the device type's own state, as JSON. */
export const deviceState: PartKind = {
  type: ownPart.DEVICE_STATE,
  variable: true,
  read: (_, { core: { config, pendingConfig, device } }) => [
    { value: encodeUtf8(JSON.stringify({ config, pendingConfig, device })) },
  ],
  take(_, state, value) {
    const text = decodeUtf8(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    const { config, pendingConfig, device } = Object(parse(text));
    const { bytes: given, generation } = Object(config);
    const size = state.core.config.bytes.length;
    if (!Array.isArray(given) || given.length !== size || !given.every(isByte)) {
      throw invalidField(`the configuration space has ${size} bytes`);
    }
    if (!Number.isSafeInteger(generation) || typeof pendingConfig !== 'boolean' || device === undefined) {
      throw invalidField('this is no state of a device');
    }
    return withCore(state, { config: { bytes: given, generation }, pendingConfig, device });
  },
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalidField('the state of the device is no JSON');
  }
}
