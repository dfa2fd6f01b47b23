import { devicePartFlag, virtio_dev_part_hdr } from '../../spec/device-parts.ts';
import type { CommandData } from './command-data.ts';
import { type DevicePart, type PartHeader, partKey } from './device-part.ts';
import { invalidField } from './refusal.ts';

/** The longest value of a part that has no length of its own, in bytes. */
const longestVariable = 2 ** 20;

/** The most parts of other devices that are passed over in one command. */
const mostForeign = 0x1000;

/**
 * The parts that a driver gives, each one that the device has and as long as it has it. A part of another
 * device is passed over when it is optional.
 *
 * @throws {AdminRefusal} EINVAL
 * @spec 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export function readGivenParts(data: CommandData, present: readonly DevicePart[]): DevicePart[] {
  const known = new Map(present.map((part) => [partKey(part.type, part.selector), part]));
  const given = new Map<string, DevicePart>();
  let foreign = 0;
  while (data.remaining >= virtio_dev_part_hdr.size) {
    const header = data.struct(virtio_dev_part_hdr);
    if (isPadding(header)) break;
    const key = partKey(header.part_type, header.selector);
    const part = known.get(key);
    if (given.has(key)) throw invalidField(`part ${key} is there twice`);
    if (part !== undefined) {
      checkLength(part, header.length, data.remaining);
      given.set(key, { ...part, value: data.bytes(header.length) });
    } else if (
      (header.flags & devicePartFlag.OPTIONAL) === 0 ||
      ++foreign > mostForeign ||
      !data.skip(header.length)
    ) {
      throw invalidField(`the device has no part ${key}`);
    }
  }
  return [...given.values()];
}

/** Drivers fill their buffers up to a multiple of 64 bits. */
const isPadding = ({ part_type, length }: PartHeader): boolean => part_type === 0 && length === 0;

function checkLength(part: DevicePart, length: number, remaining: number): void {
  const fits = part.variable === true ? length <= longestVariable : length === part.value.length;
  if (!fits || length > remaining) {
    throw invalidField(`part ${part.type.toString(16)} has ${length} bytes instead of ${part.value.length}`);
  }
}
