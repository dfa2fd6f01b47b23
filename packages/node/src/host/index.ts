export { type HostAbility, hostAbilities, tryAbility } from './abilities.ts';
export { AdaptivePolling, type PollingOptions } from './adaptive-polling.ts';
export type { UnixChannel } from './channel.ts';
export { type DescriptorOptions, NodeDescriptors } from './descriptors.ts';
export type { FileDescriptor } from './file-descriptor.ts';
export { connectUnix, type Listening, listenUnix } from './unix.ts';
