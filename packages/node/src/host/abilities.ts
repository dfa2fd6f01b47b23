import type { Channel, Descriptor } from 'virtio/channel';
import { NodeDescriptors } from './descriptors.ts';
import { connectUnix, listenUnix } from './unix.ts';

/** Milliseconds in which anything that works has answered. */
const patience = 2000;
const host = new NodeDescriptors();

/** What the protocols between processes need of a machine. */
export const hostAbilities = ['memfd', 'events', 'sockets'] as const;
export type HostAbility = (typeof hostAbilities)[number];

/** Tries whether this machine has it: `undefined` when it does, else why not. Nothing is left open. */
export function tryAbility(ability: HostAbility): Promise<Error | undefined> {
  return failureOf({ memfd: tryMemory, events: tryEvents, sockets: trySockets }[ability]);
}

/** What is to be closed in the end, the last one first. */
type Closing = { close(): void }[];

async function failureOf(attempt: (opened: Closing) => void | Promise<void>): Promise<Error | undefined> {
  const opened: Closing = [];
  try {
    await attempt(opened);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    for (const each of opened.reverse()) each.close();
  }
}

function keep<T extends { close(): void }>(opened: Closing, thing: T): T {
  opened.push(thing);
  return thing;
}

function tryMemory(opened: Closing): void {
  const memory = keep(opened, host.createMemory(4096));
  const [one, two] = [0, 1].map(() => keep(opened, host.map(memory, 0, 4096)));
  bytesOf(one)[0] = 1;
  if (bytesOf(two)[0] !== 1) throw new Error('memory that is mapped twice is not the same');
}

function bytesOf(mapped: ReturnType<NodeDescriptors['map']> | undefined): Uint8Array {
  return new Uint8Array(mapped?.pieces[0]?.buffer ?? new ArrayBuffer(0));
}

async function tryEvents(opened: Closing): Promise<void> {
  const event = keep(opened, host.createEvent());
  await answer('no event came back from the event loop', (came) => {
    keep(opened, { close: host.watch(event, came) });
    host.signal(event);
  });
}

async function trySockets(opened: Closing): Promise<void> {
  const event = keep(opened, host.createEvent());
  const received = await answer<readonly Descriptor[]>('no descriptor came over a socket', (came) => {
    const listener = { received: (_: Uint8Array, got: readonly Descriptor[]) => came(got), closed() {} };
    const accept = (channel: Channel): void => keep(opened, channel).listen(listener);
    // A name in no file system, so that no folder has to be writable.
    const name = `@virtio-doctor-${process.pid}`;
    keep(opened, listenUnix(name, accept));
    keep(opened, connectUnix(name)).send(Uint8Array.of(0), [event]);
  });
  for (const descriptor of received) keep(opened, descriptor);
  if (received.length !== 1) throw new Error(`${received.length} descriptors came where one was sent`);
}

function answer<T = void>(otherwise: string, ask: (came: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(otherwise)), patience);
    ask((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
