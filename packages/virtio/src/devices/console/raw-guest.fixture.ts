import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { VirtioError } from '../../errors.ts';
import type { OwnFeatureNameOf, QueueNameOf } from '../../spec/device-type.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import type { ConsoleDevice } from './device.ts';
import { consoleType, virtio_console_control } from './spec.ts';

type Queue = QueueNameOf<typeof consoleType>;

/** A guest that does as a test tells it, buffer by buffer. */
export interface RawGuest {
  readonly transport: Loopback;
  readonly opened: OpenDevice<typeof consoleType>;
  /** What the device reported. */
  readonly errors: VirtioError[];
  /** Offers a buffer of so many readable and writable bytes, to come back with what the device wrote. */
  offer(queue: Queue, number: number, readable: Uint8Array, writable: number): Promise<Uint8Array>;
  /** Sends a control message. */
  tell(id: number, event: number, value: number): Promise<Uint8Array>;
  /** The next control message: `[id, event, value, ...payload]`. */
  hear(): Promise<number[]>;
}

export async function rawGuest(
  device: ConsoleDevice,
  features: readonly OwnFeatureNameOf<typeof consoleType>[] = ['SIZE', 'MULTIPORT', 'EMERG_WRITE'],
): Promise<RawGuest> {
  const errors: VirtioError[] = [];
  const transport = new Loopback(device, { onError: (error) => void errors.push(error) });
  return { transport, errors, ...(await openRaw(transport, features)) };
}

/** Opens the device behind a transport that may have been used before. */
export async function openRaw(
  transport: Loopback,
  features: readonly OwnFeatureNameOf<typeof consoleType>[] = ['SIZE', 'MULTIPORT', 'EMERG_WRITE'],
): Promise<Pick<RawGuest, 'opened' | 'offer' | 'tell' | 'hear'>> {
  const multiport = features.includes('MULTIPORT');
  const opened = await open(transport, consoleType, {
    features,
    queues: ({ config }) => [
      ...[0, 1, 2, 3].slice(0, multiport ? config.max_nr_ports : 1).flatMap((number) => [
        { name: 'receiveq' as const, number },
        { name: 'transmitq' as const, number },
      ]),
      ...(multiport ? [{ name: 'control receiveq' as const }, { name: 'control transmitq' as const }] : []),
    ],
  });
  const offer: RawGuest['offer'] = (name, number, readable, writable) =>
    opened.queue(name, number).request(readable, writable);
  return {
    opened,
    offer,
    tell: (id, event, value) =>
      offer('control transmitq', 0, virtio_console_control.encode({ id, event, value }), 0),
    async hear() {
      const bytes = await offer('control receiveq', 0, new Uint8Array(), 64);
      const { id, event, value } = virtio_console_control.read(new DataView(bytes.buffer));
      return [id, event, value, ...bytes.subarray(virtio_console_control.size)];
    },
  };
}
