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

/** What drives networks is loaded with the first instruction too, and then the guest asks for its address. */
export const networkModule = 'virtio_net';

/** What drives shared folders is loaded when one is to be mounted. */
export const shareModule = 'virtiofs';

/** Loaded at boot by a guest that is told so: {@link mmioGuest} is how. */
export const mmioModule = 'virtio_mmio';

/** Said on the kernel's console by a guest that has booted and has no console device of ours yet. */
export const awaitsConsole = 'virtio: no console device yet';

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
ip link set lo up
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
  [ -c $terminal ] || echo '${awaitsConsole}' >/dev/console
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

# drive ID MODULE: loads what drives devices of this virtio id; false when there is none, or it was done before
drive() {
  [ -d /sys/module/$2 ] && return 1
  grep -qx $1 /sys/bus/virtio/devices/*/device 2>/dev/null && modprobe $2
}

load_drivers() {
  [ -d /sys/module/${diskModule} ] || modprobe ${diskModule}
  drive 0x0013 ${socketModule}
  drive 0x0001 ${networkModule} && start_network
}

# Where nobody gives addresses it goes on asking in the background: at once, where that is known.
start_network() {
  for interface in /sys/class/net/eth*; do
    case " $unaddressed " in
    *" $(cat $interface/address) "*)
      ask_address \${interface##*/} &
      # What it does first would undo what others do to the interface then.
      until ip link show \${interface##*/} | grep -q '[<,]UP[,>]'; do sleep 0.05; done
      ;;
    *) ask_address \${interface##*/} -b -t 2 -T 1 ;;
    esac
  done
}

# ask_address INTERFACE OPTIONS
ask_address() {
  udhcpc -i $1 -s /etc/dhcp -S $2 $3 $4 $5 $6 >/dev/null 2>&1 8<&- 9<&-
}

# mount_share TAG OPTIONS: mounts a shared folder at /mnt/TAG
mount_share() {
  grep -q " /mnt/$1 " /proc/mounts && return
  mkdir -p "/mnt/$1"
  if modprobe ${shareModule} && mount -t virtiofs -o "$2" "$1" "/mnt/$1" 2>/dev/kmsg; then
    read_far_ahead "/mnt/$1"
  else
    say "unmounted $1"
  fi
}

# read_far_ahead FOLDER: has the kernel ask for 1 MiB at a time of what is mounted there, not 128 KiB
read_far_ahead() {
  while read -r _ _ device _ place _; do
    [ "$place" != "$1" ] || { echo 1024 >"/sys/class/bdi/$device/read_ahead_kb"; } 2>/dev/null
  done </proc/self/mountinfo
}

hold_terminal
say ready
while read -r word rest <&8; do
  status=
  case $word in
  time) date -s "@$rest" >/dev/null ;;
  seed) echo "$rest" | base64 -d >/dev/urandom ;;
  mount) mount_share $rest ;;
  unaddressed) unaddressed="$unaddressed $rest" ;;
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

/** Run when an address was given to the guest, or taken away. */
export const dhcpScript: string = `#!/bin/sh
case $1 in
deconfig)
  ip -4 addr flush dev $interface
  ip link set $interface up
  ;;
bound | renew)
  ip -4 addr flush dev $interface
  [ -n "$mtu" ] && ip link set $interface mtu $mtu
  ip addr add $ip/$mask dev $interface
  for gateway in $router; do ip route add default via $gateway dev $interface; done
  for server in $dns; do echo nameserver $server; done >/etc/resolv.conf
  ;;
esac
`;

/** Read by every shell. */
export const profile: string = `export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/root TERM=xterm-256color
PS1='\\[\\e[1;32m\\]virtio\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]# '
`;
