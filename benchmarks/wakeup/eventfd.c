/*
 * The plain baseline: round trips over a pair of eventfds, nanoseconds each, on standard output.
 *   eventfd COUNT            both ends here: this process asks, a child of it answers from an epoll loop
 *   eventfd COUNT SOCKET     the answering end is whoever listens at SOCKET and sends the two eventfds
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* As far apart as a virtual machine's processor and its device; where there is one processor, together. */
static void use(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void answer(int kick, int call) {
  int loop = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  uint64_t value;
  if (epoll_ctl(loop, EPOLL_CTL_ADD, kick, &event) < 0) fail("epoll_ctl");
  for (;;) {
    if (epoll_wait(loop, &event, 1, -1) != 1) continue;
    if (read(kick, &value, 8) == 8 && write(call, &(uint64_t){1}, 8) != 8) fail("write");
  }
}

static void receive(const char *path, int fds[2]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  char byte, control[CMSG_SPACE(2 * sizeof(int))];
  struct iovec vector = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(fd, &message, 0) != 1) fail("recvmsg");
  memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
}

int main(int count, char **arguments) {
  long rounds = count > 1 ? atol(arguments[1]) : 1;
  int fds[2];
  if (count > 2) {
    receive(arguments[2], fds);
    /* Its maker has no use for that mode, and this end is to sleep. */
    fcntl(fds[1], F_SETFL, 0);
  } else {
    fds[0] = eventfd(0, EFD_NONBLOCK);
    fds[1] = eventfd(0, 0);
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      use(0);
      answer(fds[0], fds[1]);
    }
  }
  use(1);
  struct timespec start, end;
  uint64_t value;
  for (long round = -rounds / 10; round < rounds; round++) {
    if (round == 0) clock_gettime(CLOCK_MONOTONIC, &start);
    if (write(fds[0], &(uint64_t){1}, 8) != 8) fail("write");
    if (read(fds[1], &value, 8) != 8) fail("read");
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.0f\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / rounds);
  return 0;
}
