import { Socket } from 'node:net';
import { constants, endianness } from 'node:os';
import { eventLoopDescriptor } from '../ffi/event-loop.ts';
import { linuxCalls } from '../ffi/linux.ts';
import { type EventLoopCalls, type Poller, pollEvents } from '../ffi/system-calls.ts';
import { AF_UNIX } from './socket-address.ts';

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
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

interface Watched {
  readonly ready: (status: number, events: number) => void;
  /** 0 while it is not started. */
  events: number;
}

/**
 * Descriptors watched in a worker. Handles of libuv's in the loop of a worker cannot be taken back when it is terminated,
 * so what is watched is in an epoll of our own, and that one in the loop's, under the number of a socket of Node's in which
 * nothing ever comes: the loop wakes for it, finds the socket empty, and ends its turn, which is when we look.
 */
export class WorkerLoop implements EventLoopCalls {
  readonly #epoll: number;
  /** While something is started it keeps the worker alive. */
  readonly #bell: Socket;
  readonly #watched = new Map<number, Watched>();
  readonly #events = new Uint8Array(new ArrayBuffer(eventLength * mostEvents));
  readonly #view = new DataView(this.#events.buffer);
  #started = 0;
  #scheduled = false;
  readonly #turn = (): void => this.#look();

  private constructor(epoll: number, bell: Socket) {
    this.#epoll = epoll;
    this.#bell = bell;
  }

  /** The loop of this worker. The number is minus an errno. */
  static open(): WorkerLoop | number {
    const { epollCreate, socketPair, close } = linuxCalls();
    const epoll = epollCreate(EPOLL_CLOEXEC);
    if (epoll < 0) return epoll;
    const ends = new Int32Array(2);
    const paired = socketPair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    const [near = -1, far = -1] = ends;
    const hung = paired < 0 ? paired : control(eventLoopDescriptor(), EPOLL_CTL_ADD, epoll, EPOLLIN, near);
    if (hung < 0) {
      for (const fd of [epoll, near, far]) close(fd);
      return hung;
    }
    process.once('exit', () => {
      for (const fd of [epoll, far]) close(fd); // this worker's exit
    });
    const bell = new Socket({ fd: near, readable: true, writable: false });
    bell.resume().unref();
    return new WorkerLoop(epoll, bell);
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
    if (this.#started === 0) this.#bell.unref();
  }

  #control(operation: number, fd: number, events: number): number {
    return control(this.#epoll, operation, fd, events, fd);
  }

  /** We look at the end of the loop's next turn. An immediate without a reference does not keep the loop from sleeping. */
  #goOn(): void {
    if (this.#scheduled || this.#started === 0) return;
    this.#scheduled = true;
    this.#bell.ref();
    setImmediate(this.#turn).unref();
  }

  #look(): void {
    this.#scheduled = false;
    if (this.#started === 0) return;
    const count = linuxCalls().epollWait(this.#epoll, this.#events, mostEvents, 0);
    // Before the events are told of: whoever hears of one may throw, and the others are to be heard of all the same.
    this.#goOn();
    for (let at = 0; at < count * eventLength; at += eventLength) {
      this.#tell(this.#view.getInt32(at + dataOffset, isLittle), this.#view.getUint32(at, isLittle));
    }
  }

  #tell(fd: number, bits: number): void {
    const watched = this.#watched.get(fd);
    if (watched === undefined || watched.events === 0) return; // stopped by the one before
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

const event = new Uint32Array(new ArrayBuffer(16));
const eventBytes = new Uint8Array(event.buffer);

/** `name` is what the epoll calls the descriptor. */
function control(epoll: number, operation: number, fd: number, events: number, name: number): number {
  event[0] = events;
  event[dataOffset / 4] = name;
  return linuxCalls().epollControl(epoll, operation, fd, eventBytes);
}
