import { constants } from 'node:os';
import { foreignLibrary } from './koffi.ts';
import type { LinuxCalls } from './system-calls.ts';

/** Of preadv2(2). */
const RWF_NOWAIT = 8;
/** Bytes that one `drain` takes at most. */
const drainLength = 4096;

let loaded: LinuxCalls | undefined;

/** The calls of Linux. They are declared at their first use, and only there do they exist. */
export function linuxCalls(): LinuxCalls {
  loaded ??= load();
  return loaded;
}

function load(): LinuxCalls {
  const { declare } = foreignLibrary();
  const getsockopt = declare('int getsockopt(int fd, int level, int name, void *value, void *length)');
  const accept4 = declare('int accept4(int fd, void *address, void *length, int flags)');
  const value = new Int32Array(1);
  const length = new Int32Array(1);
  return {
    memfdCreate: declare('int memfd_create(const char *name, unsigned int flags)'),
    close: declare('int close(int fd)'),
    // Its third parameter is as wide as a register for the commands that take a pointer.
    fcntl: declare('int fcntl(int fd, int command, int64_t argument)'),
    ioctl: declare('int ioctl(int fd, unsigned long request, void *argument)'),
    ioctlNumber: declare('int ioctl(int fd, unsigned long request, int64_t argument)'),
    eventfd: declare('int eventfd(unsigned int start, int flags)'),
    read: declare('int64_t read(int fd, void *target, size_t length)'),
    drain: drain(),
    write: declare('int64_t write(int fd, const void *source, size_t length)'),
    epollCreate: declare('int epoll_create1(int flags)'),
    epollControl: declare('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
    epollWait: declare('int epoll_wait(int epoll, void *events, int count, int timeout)'),
    socket: declare('int socket(int domain, int type, int protocol)'),
    socketPair: declare('int socketpair(int domain, int type, int protocol, void *ends)'),
    bind: declare('int bind(int fd, const void *address, uint32_t length)'),
    connect: declare('int connect(int fd, const void *address, uint32_t length)'),
    listen: declare('int listen(int fd, int backlog)'),
    accept: (fd, flags) => accept4(fd, null, null, flags),
    socketOption(fd, level, option) {
      length[0] = value.byteLength;
      const result = getsockopt(fd, level, option, value, length);
      return result < 0 ? result : (value[0] ?? 0);
    },
    shutdown: declare('int shutdown(int fd, int how)'),
    sendMessage: declare('int64_t sendmsg(int fd, const void *message, int flags)'),
    receiveMessage: declare('int64_t recvmsg(int fd, void *message, int flags)'),
  };
}

/** Some descriptors of old kernels, and some C libraries, have only a read that may wait. */
function drain(): LinuxCalls['drain'] {
  const { declare, koffi } = foreignLibrary();
  const target = new ArrayBuffer(drainLength);
  const bytes = new Uint8Array(target);
  const vector = new Uint8Array(BigUint64Array.of(koffi.address(target), BigInt(drainLength)).buffer);
  const read: LinuxCalls['read'] = declare('int64_t read(int fd, void *target, size_t length)');
  const plainly = (fd: number): number => read(fd, bytes, drainLength);
  try {
    const readv: (fd: number, vector: Uint8Array, count: number, offset: number, flags: number) => number =
      declare('int64_t preadv2(int fd, const void *vector, int count, int64_t offset, int flags)');
    return (fd) => {
      const count = readv(fd, vector, 1, -1, RWF_NOWAIT);
      return count === -constants.errno.EOPNOTSUPP || count === -constants.errno.ENOSYS ? plainly(fd) : count;
    };
  } catch {
    return plainly;
  }
}
