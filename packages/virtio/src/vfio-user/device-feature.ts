import { type Answer, type Command, refuse } from './command.ts';
import { featureFlag, vfio_user_device_feature } from './messages.ts';

/** What a DEVICE_FEATURE is about. */
export interface FeatureRequest {
  /** Bytes that the client has room for. */
  readonly argsz: number;
  readonly flags: number;
  readonly index: number;
  /** An or of GET, SET and PROBE. */
  readonly wants: number;
}

export function featureRequest(command: Command): FeatureRequest {
  const { argsz, flags } = command.read(vfio_user_device_feature);
  return { argsz, flags, index: flags & featureFlag.INDEX, wants: flags & ~featureFlag.INDEX };
}

/** Answers who asks whether a feature can be had in some of `ways`; `undefined` for who wants it. */
export function probed(command: Command, { index, wants }: FeatureRequest, ways: number): Answer | undefined {
  if ((wants & featureFlag.PROBE) === 0) return undefined;
  if ((wants & ~featureFlag.PROBE & ~ways) !== 0) refuse('ENOTTY', `feature ${index} has no such access`);
  return { payload: [command.data(0)] };
}
