import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { NodeDescriptors } from './descriptors.ts';
import { FileDescriptor } from './file-descriptor.ts';
import { freshPath, Heard } from './pair.fixture.ts';
import { connectUnix, listenUnix } from './unix.ts';

const host = new NodeDescriptors();
const patience = { timeout: 20_000 };
let bundle = '';

beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('./worker.fixture.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    conditions: ['source'],
    define: { 'import.meta.url': JSON.stringify(import.meta.url) },
  });
  bundle = outputFiles[0]?.text ?? '';
});

interface Running {
  readonly worker: Worker;
  readonly said: unknown[];
  error?: unknown;
  exit?: number;
}

/** A worker at its task; what it says, and how it ends. */
function started(task: string, data: object): Running {
  const worker = new Worker(bundle, { eval: true, workerData: { task, ...data } });
  const running: Running = { worker, said: [] };
  worker.on('message', (message) => running.said.push(message));
  worker.on('error', (error) => {
    running.error = error;
  });
  worker.on('exit', (code) => {
    running.exit = code;
  });
  return running;
}

describe('in a worker', () => {
  it('events wake it, beside messages, timers and files, and it ends when nothing is watched', async () => {
    const [kick, call] = [host.createEvent(), host.createEvent()];
    const running = started('echo', {
      kick: FileDescriptor.from(kick).fd,
      call: FileDescriptor.from(call).fd,
    });
    await vi.waitFor(() => expect(running.said).toContain('watching'), patience);
    const happened = vi.fn();
    const stop = host.watch(call, happened);
    for (let count = 1; count <= 20; count++) {
      host.signal(kick);
      await vi.waitFor(() => expect(happened).toHaveBeenCalledTimes(count), patience);
    }
    running.worker.postMessage('end');
    await vi.waitFor(() => expect(running.exit).toBe(0), patience);
    expect(running.said).toEqual(['watching', 'file', 'timer', 'immediates']);
    stop();
    for (const event of [kick, call]) event.close();
  }, 60_000);

  it('what else begins in its loop is waited for, while nothing comes to what is watched', async () => {
    const kick = host.createEvent();
    const path = freshPath();
    const listening = listenUnix(path, () => {});
    const running = started('connects', { kick: FileDescriptor.from(kick).fd, path });
    await vi.waitFor(() => expect(running.said).toEqual(['watching']), patience);
    running.worker.postMessage(freshPath());
    await vi.waitFor(() => expect(running.said).toEqual(['watching', 'refused', 'closed']), patience);
    running.worker.postMessage(path);
    await vi.waitFor(() => expect(running.said.slice(3)).toEqual(['closed']), patience);
    await vi.waitFor(() => expect(running.exit).toBe(0), patience);
    listening.close();
    kick.close();
  }, 60_000);

  it.each(['sleeps', 'is busy'])(
    'termination ends it while it %s',
    async (how) => {
      const kick = host.createEvent();
      const running = started(how, { kick: FileDescriptor.from(kick).fd });
      await vi.waitFor(() => expect(running.said).toContain('watching'), patience);
      await running.worker.terminate();
      expect(running.error).toBeUndefined();
      kick.close();
    },
    60_000,
  );

  it('what a watcher throws ends the worker with it', async () => {
    const kick = host.createEvent();
    const running = started('throws', { kick: FileDescriptor.from(kick).fd });
    host.signal(kick);
    await vi.waitFor(() => expect(running.exit).toBe(1), patience);
    expect(running.error).toMatchObject({ message: 'on purpose' });
    kick.close();
  }, 60_000);

  it('sockets are served, whose peers come and go', async () => {
    const path = freshPath();
    const running = started('serves', { path });
    await vi.waitFor(() => expect(running.said).toContain('watching'), patience);
    const event = host.createEvent();
    for (let count = 0; count < 3; count++) {
      const heard = new Heard();
      const channel = connectUnix(path);
      channel.listen(heard);
      channel.send(new Uint8Array(2 ** 20), [event]);
      await vi.waitFor(() => expect(heard.length).toBe(2 ** 20), patience);
      expect(heard.descriptors).toHaveLength(1);
      heard.closeDescriptors();
      channel.close();
    }
    event.close();
    await vi.waitFor(() => expect(running.said).toContain('closed 3'), patience);
    await vi.waitFor(() => expect(running.exit).toBe(0), patience);
  }, 60_000);
});
