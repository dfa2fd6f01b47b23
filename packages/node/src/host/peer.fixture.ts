import { readdirSync } from 'node:fs';
import { NodeDescriptors } from './descriptors.ts';
import { connectUnix, listenUnix } from './unix.ts';

/** Another process for the tests: `peer.fixture.ts TASK [ARGUMENT]`. It says a line for each thing that it did. */
const [task = '', argument = ''] = process.argv.slice(2);
const host = new NodeDescriptors();
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const tasks: Readonly<Record<string, () => void>> = {
  /** Sends megabytes with descriptors between them, as fast as they are taken, until it is killed. */
  flood() {
    const channel = connectUnix(argument);
    const event = host.createEvent();
    const bytes = new Uint8Array(2 ** 18);
    channel.listen({ received: () => channel.send(bytes, [event]), closed() {} });
    for (let count = 0; count < 8; count++) channel.send(bytes, [event]);
  },

  /** Connects, and never reads. */
  deaf() {
    connectUnix(argument);
    say('connected');
    setInterval(() => {}, 1e9);
  },

  /** Serves whatever it was started with as descriptor 3: what comes goes back, descriptors as well. */
  echo() {
    const listening = listenUnix(3, (channel) => {
      channel.listen({
        received(bytes, descriptors) {
          channel.send(bytes, descriptors);
          for (const descriptor of descriptors) descriptor.close();
        },
        closed: () => listening.close(),
      });
    });
  },

  /** Takes descriptors until there is no room for more. */
  short() {
    const channel = connectUnix(argument);
    const before = readdirSync('/proc/self/fd').length;
    channel.listen({
      received(_, descriptors) {
        say(`received ${descriptors.length}`);
        for (const descriptor of descriptors) descriptor.close();
      },
      closed(error) {
        say(`closed ${error?.message ?? ''}, ${readdirSync('/proc/self/fd').length - before} more open`);
      },
    });
  },

  touch: () => touch(new NodeDescriptors()),
  touchSealed: () => touch(new NodeDescriptors({ onlySealed: true })),

  /** Watches an event, listens, and does nothing else, until it is told to end. */
  wait() {
    const event = host.createEvent();
    const stop = host.watch(event, () => {});
    const listening = listenUnix(argument, (channel) => channel.close());
    process.once('SIGTERM', () => {
      stop();
      event.close();
      listening.close();
      say('ending');
    });
    const clocks = process.getActiveResourcesInfo().filter((kind) => /timeout|immediate/i.test(kind));
    say(`waiting, with ${clocks.length} timers`);
  },
};

/** Maps the memory that comes, and touches the end of it whenever something comes. */
function touch(by: NodeDescriptors): void {
  const channel = connectUnix(argument);
  let last: Uint8Array | undefined;
  channel.listen({
    received(_, [memory]) {
      if (memory === undefined) {
        say(`read ${last?.[0] ?? 'nothing'}`);
        return;
      }
      try {
        const { buffer, byteOffset = 0 } = by.map(memory, 4096, 4096).pieces[0] ?? {};
        last = buffer && new Uint8Array(buffer, byteOffset, 1);
        say('mapped');
      } catch (error) {
        say(String(error));
      }
    },
    closed() {},
  });
}

tasks[task]?.();
