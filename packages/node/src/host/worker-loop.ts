import { constants, endianness } from 'node:os';
import { eventLoopDescriptor } from '../ffi/event-loop.ts';
import { linuxCalls } from '../ffi/linux.ts';
import { type EventLoopCalls, type Poller, pollEvents } from '../ffi/system-calls.ts';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;

/** `struct epoll_event` is packed on one processor alone. */
const [eventLength, dataOffset] = process.arch === 'x64' ? [12, 4] : [16, 8];
const isLittle = endianness() === 'LE';
const mostEvents = 64;
/** Milliseconds that a timer of the worker's may be late, since nobody can be asked when it is due. */
const timerLateness = 2;

interface Watched {
  readonly ready: (status: number, events: number) => void;
  /** 0 while it is not started. */
  events: number;
}

/**
 * Descriptors watched in a worker. Handles in the loop of a worker cannot be taken back when it is terminated, so the
 * worker sleeps in a call of its own, which its loop wakes as well; then the loop has its turn.
 */
export class WorkerLoop implements EventLoopCalls {
  readonly #epoll: number;
  readonly #watched = new Map<number, Watched>();
  readonly #events = new Uint8Array(new ArrayBuffer(eventLength * mostEvents));
  readonly #view = new DataView(this.#events.buffer);
  readonly #event = new Uint32Array(new ArrayBuffer(16));
  readonly #eventBytes = new Uint8Array(this.#event.buffer);
  #started = 0;
  #scheduled = false;
  readonly #turn = (): void => this.#wait();

  private constructor(epoll: number) {
    this.#epoll = epoll;
    process.once('exit', () => linuxCalls().close(epoll)); // this worker's exit
  }

  /** The loop of this worker. The number is minus an errno. */
  static open(): WorkerLoop | number {
    const epoll = linuxCalls().epollCreate(EPOLL_CLOEXEC);
    if (epoll < 0) return epoll;
    const loop = new WorkerLoop(epoll);
    const result = loop.#control(EPOLL_CTL_ADD, eventLoopDescriptor(), EPOLLIN);
    return result < 0 ? result : loop;
  }

  poller(fd: number, ready: (status: number, events: number) => void): Poller | number {
    if (this.#watched.has(fd)) return -constants.errno.EEXIST;
    // What cannot be waited for is found out here, not at the start.
    const result = this.#control(EPOLL_CTL_ADD, fd, 0);
    if (result < 0) return result;
    this.#control(EPOLL_CTL_DEL, fd, 0);
    const watched: Watched = { ready, events: 0 };
    this.#watched.set(fd, watched);
    const isOpen = (): boolean => this.#watched.get(fd) === watched;
    return {
      start: (events) => (isOpen() ? this.#start(fd, watched, events) : 0),
      stop: () => {
        if (isOpen()) this.#stop(fd, watched);
      },
      close: () => {
        if (!isOpen()) return;
        this.#stop(fd, watched);
        this.#watched.delete(fd);
      },
    };
  }

  #start(fd: number, watched: Watched, events: number): number {
    const wanted =
      ((events & pollEvents.READABLE) !== 0 ? EPOLLIN : 0) |
      ((events & pollEvents.WRITABLE) !== 0 ? EPOLLOUT : 0);
    const result = this.#control(watched.events === 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, wanted);
    if (result < 0) return result;
    if (watched.events === 0) this.#started++;
    watched.events = events;
    this.#goOn();
    return 0;
  }

  #stop(fd: number, watched: Watched): void {
    if (watched.events === 0) return;
    watched.events = 0;
    this.#started--;
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  #control(operation: number, fd: number, events: number): number {
    this.#event[0] = events;
    this.#event[dataOffset / 4] = fd;
    return linuxCalls().epollControl(this.#epoll, operation, fd, this.#eventBytes);
  }

  /** The worker lives on while something is started. */
  #goOn(): void {
    if (this.#scheduled || this.#started === 0) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  #wait(): void {
    this.#scheduled = false;
    if (this.#started === 0) return;
    let count = linuxCalls().epollWait(this.#epoll, this.#events, mostEvents, 0);
    if (count === 0) count = linuxCalls().epollWait(this.#epoll, this.#events, mostEvents, timeToSleep());
    // Before the events are told of: whoever hears of one may throw, and the others are to be heard of all the same.
    this.#goOn();
    for (let at = 0; at < count * eventLength; at += eventLength) {
      this.#tell(this.#view.getInt32(at + dataOffset, isLittle), this.#view.getUint32(at, isLittle));
    }
  }

  #tell(fd: number, bits: number): void {
    const watched = this.#watched.get(fd);
    if (watched === undefined || watched.events === 0) return; // the loop itself, or stopped by the one before
    if ((bits & EPOLLERR) !== 0) {
      this.#stop(fd, watched);
      watched.ready(-constants.errno.EBADF, 0);
      return;
    }
    const all = (bits & EPOLLHUP) !== 0 ? watched.events : 0;
    const { READABLE, WRITABLE } = pollEvents;
    watched.ready(
      0,
      all | ((bits & EPOLLIN) !== 0 ? READABLE : 0) | ((bits & EPOLLOUT) !== 0 ? WRITABLE : 0),
    );
  }
}

/** How long the loop can do without its turn, in milliseconds. */
function timeToSleep(): number {
  const busy = process.getActiveResourcesInfo();
  if (busy.includes('Immediate')) return 0;
  return busy.includes('Timeout') ? timerLateness : -1;
}
