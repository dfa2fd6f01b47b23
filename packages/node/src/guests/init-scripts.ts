/**
 * What runs in the guest, as texts. The host's half of the conversation is `control.ts`; README.md in this
 * folder describes it.
 */

/**
 * What drives disks is loaded with the first instruction. A guest that waits for one has read no disk, so its
 * machine's state may be saved, and restored with other disks or other bytes on them.
 */
export const diskModule = 'virtio_blk';

/** What drives sockets is loaded with the first instruction as well, where there is such a device. */
export const socketModule = 'vmw_vsock_virtio_transport';

/** Loaded at boot by a guest that is told so: {@link mmioGuest} is how. */
export const mmioModule = 'virtio_mmio';

/** The first program: makes a minimal system, then hands over to busybox init, which reaps and shuts down. */
export const initScript: string = `#!/bin/busybox sh
export PATH=/sbin:/bin:/usr/sbin:/usr/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t devpts devpts /dev/pts
/bin/busybox mount -t tmpfs tmpfs /dev/shm
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox --install -s
# The kernel hands what it does not know of its command line to its first program, as variables.
modprobe -a $virtio_modules $(cat /etc/modules)
hostname virtio
exec init
`;

/** What busybox init keeps running. */
export const inittab: string = `::respawn:/etc/control
::ctrlaltdel:/sbin/reboot
`;

/** Serves the control channel: one instruction after the other until the machine ends. */
export const controlScript: string = `#!/bin/sh
. /etc/profile

# port NAME: the device node of the virtio-serial port of that name
port() {
  for entry in /sys/class/virtio-ports/*; do
    name=
    read -r name 2>/dev/null <$entry/name
    [ "$name" = "$1" ] && echo /dev/\${entry##*/} && return
  done
}

argument() { sed -n "s/.*\\\\b$1=\\\\([^ ]*\\\\).*/\\\\1/p" /proc/cmdline; }

control=$(argument virtio_control)
if [ -n "$control" ]; then
  terminal=$(argument virtio_terminal)
  terminal=/dev/\${terminal:-$control}
  control=/dev/$control
else
  terminal=/dev/hvc0
  until [ -c $terminal ] && control=$(port org.virtio-ts.control) && [ -n "$control" ]; do sleep 0.05; done
fi
exec 8<>$control
[ -t 8 ] && stty raw -echo <&8
say() { echo "$1" >&8; }

# A terminal that nobody holds open forgets its modes; one whose session ended has hung up.
hold_terminal() {
  exec 9<>$terminal
  [ $control = $terminal ] && exec 8<>$control
  stty raw -echo <&9
}

load_drivers() {
  [ -d /sys/module/${diskModule} ] || modprobe ${diskModule}
  [ -d /sys/module/${socketModule} ] && return
  # 19 is the socket device.
  grep -qx 0x0013 /sys/bus/virtio/devices/*/device 2>/dev/null && modprobe ${socketModule}
}

hold_terminal
say ready
while read -r word rest <&8; do
  status=
  case $word in
  time) date -s "@$rest" >/dev/null ;;
  seed) echo "$rest" | base64 -d >/dev/urandom ;;
  shell)
    load_drivers
    # Kernels differ in which number of a window's size they take first: the host hears how it was understood.
    say "size $(stty size <&9)"
    set -- $rest
    stty sane cols \${1:-80} rows \${2:-24} <&9
    setsid -c sh -l <&9 >&9 2>&1 8<&- 9<&-
    status=$?
    hold_terminal
    ;;
  exec)
    load_drivers
    input=$(port org.virtio-ts.stdin)
    errors=$(port org.virtio-ts.stderr)
    setsid sh -c "$(echo "$rest" | base64 -d)" <\${input:-$terminal} >$terminal 2>\${errors:-$terminal} 8<&- 9<&-
    status=$?
    ;;
  esac
  [ -z "$status" ] && continue
  sync
  # Setting a terminal's modes waits until its output has left.
  stty raw -echo <&9
  say "exit $status"
done
`;

/** Read by every shell. */
export const profile: string = `export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/root TERM=xterm-256color
PS1='\\[\\e[1;32m\\]virtio\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]# '
`;
