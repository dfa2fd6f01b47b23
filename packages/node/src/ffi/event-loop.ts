import { foreignLibrary } from './koffi.ts';
import type { EventLoopCalls, Poller } from './system-calls.ts';

/** Of libuv's `uv_handle_type`, which does not change within a major version; Node has had the first since ever. */
const pollHandle = 8;

let loaded: EventLoopCalls | undefined;

/** The calls of libuv, on the main thread's loop: a worker must not touch it. */
export function eventLoopCalls(): EventLoopCalls {
  loaded ??= load();
  return loaded;
}

/**
 * The descriptor that becomes readable when the event loop of this thread has something to do. Minus one when it
 * cannot be had.
 */
export function eventLoopDescriptor(): number {
  const { koffi, libc } = foreignLibrary();
  const loop: [bigint | null] = [null];
  const getLoop = libc.func('int napi_get_uv_event_loop(void *environment, _Out_ void **loop)');
  if (getLoop(koffi.node.env, loop) !== 0) return -1;
  return libc.func('int uv_backend_fd(void *loop)')(loop[0]);
}

function load(): EventLoopCalls {
  const { koffi, libc } = foreignLibrary();
  const handleSize: number = libc.func('size_t uv_handle_size(int type)')(pollHandle);
  const loop: bigint = libc.func('void *uv_default_loop()')();
  const uvPollInit = libc.func('int uv_poll_init(void *loop, void *handle, int fd)');
  const uvPollStop = libc.func('int uv_poll_stop(void *handle)');
  const readyType = koffi.pointer(koffi.proto('void', ['int64_t', 'int', 'int']));
  const closedType = koffi.pointer(koffi.proto('void', ['int64_t']));
  const uvPollStart = libc.func('uv_poll_start', 'int', ['void *', 'int', readyType]);
  const uvClose = libc.func('uv_close', 'void', ['void *', closedType]);

  // What libuv calls by itself is no turn of Node's, which would end with promises and ticks: this makes it one.
  let promised = false;
  const endTurn = (): void => {
    promised = false;
  };
  const promiseTurn = (): void => {
    if (promised) return;
    promised = true;
    setImmediate(endTurn);
  };
  // One callback for all: the library has room for so many and no more. The handle's address tells whose it is.
  const listeners = new Map<number, (status: number, events: number) => void>();
  const onReady = koffi.register((handle: number, status: number, events: number) => {
    promiseTurn();
    listeners.get(handle)?.(status, events);
  }, readyType);
  // The loop lets go of a handle's memory when it says so, not before.
  const onClosed = koffi.register((handle: number) => koffi.free(BigInt(handle)), closedType);

  return {
    poller(fd, ready): Poller | number {
      const handle: bigint = koffi.alloc('uint8_t', handleSize);
      const failure: number = uvPollInit(loop, handle, fd);
      if (failure < 0) {
        koffi.free(handle);
        return failure;
      }
      // Addresses of a process are far below what a number holds.
      const address = Number(handle);
      listeners.set(address, ready);
      return {
        start: (events) => (listeners.has(address) ? uvPollStart(handle, events, onReady) : 0),
        stop() {
          if (listeners.has(address)) uvPollStop(handle);
        },
        close() {
          if (listeners.delete(address)) uvClose(handle, onClosed);
        },
      };
    },
  };
}
