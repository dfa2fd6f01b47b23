export type { Channel, ChannelListener } from './channel.ts';
export type { ChannelHost } from './channel-host.ts';
export type { ContentHost, Descriptor, DescriptorHost, EventHost, MappedMemory } from './descriptors.ts';
export { channelPair, InMemoryDescriptors } from './in-memory.ts';
export { type Framing, MessageReader, type MessageSink, mostDescriptors } from './message-reader.ts';
export { type DriverMemory, SharedMemory, type SharedRange } from './shared-memory.ts';
