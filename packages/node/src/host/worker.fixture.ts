import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { NodeDescriptors } from './descriptors.ts';
import { listenUnix } from './unix.ts';

/** A worker of the tests. Descriptors are given by their numbers, and stay the main thread's. */
const { task, kick, call, path } = workerData;
const host = new NodeDescriptors();
const say = (what: string): void => parentPort?.postMessage(what);

async function tellAll(stop: () => void): Promise<void> {
  await readFile('/proc/self/stat');
  say('file');
  await new Promise((resolve) => setTimeout(resolve, 5));
  say('timer');
  for (let count = 0; count < 100; count++) await new Promise((resolve) => setImmediate(resolve));
  say('immediates');
  stop();
  parentPort?.unref();
}

const tasks: Readonly<Record<string, () => void>> = {
  echo() {
    const stop = host.watch(host.adopt(kick), () => host.signal(answer));
    const answer = host.adopt(call);
    parentPort?.on('message', () => void tellAll(stop));
  },

  sleeps() {
    host.watch(host.adopt(kick), () => {});
  },

  connects() {
    const stop = host.watch(host.adopt(kick), () => {});
    parentPort?.on('message', (to: string) => {
      const socket = createConnection(to);
      socket.on('connect', () => socket.destroy());
      socket.on('error', () => say('refused'));
      socket.on('close', () => {
        say('closed');
        if (to !== path) return;
        stop();
        parentPort?.unref();
      });
    });
  },

  'is busy'() {
    const event = host.adopt(kick);
    host.watch(event, () => host.signal(event));
    host.signal(event);
  },

  throws() {
    host.watch(host.adopt(kick), () => {
      throw new Error('on purpose');
    });
  },

  serves() {
    let closed = 0;
    const listening = listenUnix(path, (channel) => {
      channel.listen({
        received(bytes, descriptors) {
          channel.send(bytes, descriptors);
          for (const descriptor of descriptors) descriptor.close();
        },
        closed() {
          closed++;
          say(`closed ${closed}`);
          if (closed === 3) listening.close();
        },
      });
    });
  },
};

tasks[task]?.();
say('watching');
