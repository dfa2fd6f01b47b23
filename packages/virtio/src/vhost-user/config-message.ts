import type { DeviceCore } from '../device/core.ts';
import type { StructValue } from '../spec/layout.ts';
import { bad } from './message-stream.ts';
import type { VhostUserConfig } from './payloads.ts';
import { configFlags, limits } from './protocol.ts';

type ConfigPayload = StructValue<(typeof VhostUserConfig)['codecs']>;

/**
 * The bytes that a GET_CONFIG asks for; those behind the end of the configuration read as 0. `undefined` for more than
 * messages carry of a configuration.
 */
export function readConfig(core: DeviceCore, { offset, size, region }: ConfigPayload): number[] | undefined {
  if (!isWithin(offset, size, region.length)) return undefined;
  return region.map((_, i) => core.readConfig(offset + i, 1));
}

/**
 * Carries out a SET_CONFIG. False, having changed nothing, when the bytes are not the driver's to write; of a device that
 * moves here, also when those bytes are other ones than this device has.
 */
export function writeConfig(core: DeviceCore, { offset, size, flags, region }: ConfigPayload): boolean {
  if (!isWithin(offset, size, region.length)) return false;
  const { configSpace, type } = core.device;
  const isWritable = (at: number, width: number): boolean =>
    configSpace.writableField(at, width) !== undefined;
  const differs = (at: number): boolean => core.readConfig(at, 1) !== region[at - offset];
  const bytes = region.map((_, i) => offset + i);
  const refused = bytes.filter((at) => !isWritable(at, 1));
  if (flags === configFlags.MIGRATION ? refused.some(differs) : refused.length > 0) return false;
  const parts = type.config.parts().flatMap(({ offset: at, size: width }) =>
    width === 8
      ? [
          { at, width: 4 },
          { at: at + 4, width: 4 },
        ]
      : [{ at, width }],
  );
  for (const { at, width } of parts) {
    if (at < offset || at + width > offset + size || !isWritable(at, width)) continue;
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (region[at - offset + i] ?? 0);
    core.writeConfig(at, width, value);
  }
  return true;
}

/** @throws {PeerError} BAD_MESSAGE when the message has not so many bytes as it says. */
function isWithin(offset: number, size: number, bytes: number): boolean {
  if (size !== bytes) throw bad(`${size} bytes of configuration at ${offset}, with ${bytes} in the message`);
  return offset + size <= limits.configBytes;
}
