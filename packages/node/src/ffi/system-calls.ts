/**
 * The system calls that Node does not have. Where nothing else is said, each gives what the call gives, or minus the
 * errno of its failure. No name of the library behind them goes past this interface.
 */
export interface SystemCalls {
  /** Locks a whole file for this open of it; the kernel lets go when the process dies. */
  flock(fd: number, operation: number): number;
  /** Linux alone; `undefined` elsewhere. Offsets and lengths in bytes. */
  readonly fallocate: ((fd: number, mode: number, offset: number, length: number) => number) | undefined;
  /** Bytes in a page of memory. */
  pageSize(): number;
  /** Maps bytes of a file, from a page's beginning on, to be read and written and shared with other processes. */
  mapShared(fd: number, offset: number, length: number): Mapping | number;
  /** The address of a buffer's first byte. The engine moves no buffer that was made as an ArrayBuffer. */
  addressOf(buffer: ArrayBuffer): bigint;
}

/** A mapped part of a file. */
export interface Mapping {
  /**
   * A window on the mapped bytes. It takes some tens of microseconds to make, and must be no longer than the engine's
   * buffers may be.
   */
  view(offset: number, length: number): ArrayBuffer;
  /** Takes the bytes away. Whoever touches a view then finds bytes of nobody's; where there is no Linux, the process ends. */
  unmap(): void;
}

/** What Linux has for processes that share memory, events and descriptors. Results are those of `SystemCalls`. */
export interface LinuxCalls {
  memfdCreate(name: string, flags: number): number;
  /** As `closeSync`, which in a worker closes only what Node opened there. */
  close(fd: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  /** A request whose argument is in memory. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** A request whose argument is a number. */
  ioctlNumber(fd: number, request: number, argument: number): number;
  eventfd(start: number, flags: number): number;
  read(fd: number, target: Uint8Array, length: number): number;
  /**
   * Reads and forgets what is there, 4096 bytes at most; gives how many. It does not wait even where the descriptor was
   * told to, which whoever shares it can do at any time.
   */
  drain(fd: number): number;
  write(fd: number, source: Uint8Array, length: number): number;
  epollCreate(flags: number): number;
  /** `event` is a `struct epoll_event`. */
  epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  /** Blocks this thread for `timeout` milliseconds at most, for ever when it is negative. `events` has room for `count`. */
  epollWait(epoll: number, events: Uint8Array, count: number, timeout: number): number;
  socket(domain: number, type: number, protocol: number): number;
  /** Two sockets that are connected to one another; `ends` gets both. */
  socketPair(domain: number, type: number, protocol: number, ends: Int32Array): number;
  /** `address` is a whole `sockaddr`, of which `length` bytes count. */
  bind(fd: number, address: Uint8Array, length: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  listen(fd: number, backlog: number): number;
  /** `accept4` that does not ask for the peer's address. */
  accept(fd: number, flags: number): number;
  /** An option whose value is an `int`. */
  socketOption(fd: number, level: number, option: number): number;
  shutdown(fd: number, how: number): number;
  /** `message` is a `msghdr` that the caller laid out. */
  sendMessage(fd: number, message: Uint8Array, flags: number): number;
  receiveMessage(fd: number, message: Uint8Array, flags: number): number;
}

/** What io_uring(7) is driven by. Results are those of `SystemCalls`. */
export interface UringCalls {
  /** `params` is an `io_uring_params`, which is filled in. Gives a descriptor. */
  setup(entries: number, params: Uint8Array): number;
  /** Hands over so many entries and waits for nothing; gives how many were taken. */
  enter(fd: number, submit: number): number;
  register(fd: number, what: number, argument: Uint8Array, count: number): number;
}

/** Descriptors watched in an event loop, as libuv does it. Results are those of `SystemCalls`. */
export interface EventLoopCalls {
  /** Nothing is watched until `start`. A descriptor has at most one poller. */
  poller(fd: number, ready: (status: number, events: number) => void): Poller | number;
}

/** One descriptor in the event loop. While it is started, the process lives on. */
export interface Poller {
  /** From now on `ready` hears of these events, again and again while they last. */
  start(events: number): number;
  stop(): void;
  /** No call of `ready` comes afterwards. The descriptor may be closed then, not before. */
  close(): void;
}

/** Events of a `Poller`, as libuv numbers them. */
export const pollEvents = { READABLE: 1, WRITABLE: 2 } as const;
