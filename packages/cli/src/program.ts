import { Command, CommanderError, Option } from 'commander';
import { type BenchArguments, rwNames } from './bench/arguments.ts';
import type { DescriptorArguments } from './descriptors.ts';
import { usage } from './exit-status.ts';
import { pciInterfaces } from './lend/interfaces.ts';
import { netForms } from './network/plan.ts';
import type { ProbeArguments } from './probe/probe.ts';
import type { RunArguments } from './run/arguments.ts';
import { runBuses } from './run/buses.ts';
import { runMachines } from './run/machines.ts';
import type { ServeArguments } from './serve/arguments.ts';
import { servedNames } from './serve/plan.ts';
import { cacheModes } from './share/cache-modes.ts';
import { packageVersion, specVersion } from './version.ts';

/** What each subcommand does; the program only reads the command line. */
export interface Actions {
  run(args: RunArguments): Promise<number>;
  serve(type: string, args: ServeArguments): Promise<number>;
  descriptors(args: DescriptorArguments): Promise<number>;
  list(options: { readonly json: boolean }): Promise<number> | number;
  clauses(options: { readonly json: boolean }): Promise<number> | number;
  doctor(options: { readonly json: boolean }): Promise<number> | number;
  probe(socket: string, options: ProbeArguments): Promise<number>;
  bench(type: string, socket: string, options: BenchArguments): Promise<number>;
}

/**
 * Reads the command line and does what it says; answers the exit status.
 *
 * @param args without the program's own name
 * @throws {CommandError} for a command line that says nothing sensible, and whatever the action throws.
 */
export async function runProgram(
  args: readonly string[],
  actions: Actions,
  out: (text: string) => void,
): Promise<number> {
  let status = 0;
  const program = buildProgram(actions, out, (result) => {
    status = result;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usage(sayMistake(error, args));
  }
  return status;
}

function buildProgram(
  actions: Actions,
  out: (text: string) => void,
  done: (status: number) => void,
): Command {
  const program = new Command('virtio')
    .description('virtio devices in TypeScript: run a real Linux on them, list them, see what is proven')
    .version(`virtio-cli ${packageVersion}, virtio ${specVersion}`, '-V, --version')
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: () => {} })
    .configureHelp({
      minWidthToWrap: 30,
      // That what was not said is not there needs no saying.
      optionDescription: ({ description, defaultValue }) =>
        typeof defaultValue === 'string' ? `${description} (default: ${defaultValue})` : description,
    })
    .addHelpText(
      'after',
      `\nExamples:\n  virtio run --exec 'uname -a'\n  virtio serve --help\n\nExit status: 0 ok, 1 findings, 2 usage, 3 the environment lacks something, 4 internal\n`,
    );

  // Each subcommand is made from the program's settings, so that its mistakes and its help go the same way.
  program
    .command('run')
    .description('boot Linux on our devices; a shell in this terminal, or one command')
    .option('--machine <MACHINE>', `what runs Linux: ${machineNames}`, 'v86')
    .option(
      '--bus <BUS>',
      `how Linux reaches our devices: ${busNames}; the first unless told, and not for uml`,
    )
    .option(
      '--disk <FILE[,ro][,format=raw|qcow2]>',
      'a disk image, used in place, or the URI of an NBD export; may be given again',
      collect,
      [],
    )
    .option(
      '--vsock <PATH>',
      'sockets of the guest at this Unix socket, by CONNECT and a port; see the README',
    )
    .option(
      `--share <DIR[:TAG][,ro]>`,
      'a folder of this machine, at /mnt/TAG in the guest, or none; may be given again; the current folder, read-only, at /mnt/host unless told',
      collect,
      [],
    )
    .option(
      '--net <NETWORK>',
      `a network device, and what it is connected to: ${netForms}; may be given again; user unless told`,
      collect,
      [],
    )
    .option('--capture <FILE>', 'write all frames of the networks, as pcapng')
    .option('--memory <MIB>', 'memory of the machine, for v86 a power of two', '256')
    .option('--exec <COMMAND>', 'run one command: its output on stdout, its exit status as ours')
    .option(
      '--kernel <FILE>',
      'a kernel of your own: a bzImage (for i386 in v86), or the program linux for uml',
    )
    .option('--initrd <FILE>', 'an initramfs of your own')
    .option('--append <TEXT>', 'added behind the command line of the kernel; its options win')
    .option('--fresh', 'boot anew instead of going on from the saved state (of v86 or QEMU)', false)
    .option('--trace <FILE>', 'write all that crosses between driver and device, as JSON lines')
    .option('--json', 'progress and errors as JSON lines on stderr', false)
    .addHelpText('after', runHelp)
    .action(async (options: RunArguments) => done(await actions.run(options)));

  addServe(program, async (type, options) => done(await actions.serve(type, options)));
  addDescriptors(program, async (options) => done(await actions.descriptors(options)));

  const reading = (name: 'list' | 'clauses' | 'doctor', description: string, example: string): void => {
    program
      .command(name)
      .description(description)
      .option('--json', 'one JSON object', false)
      .addHelpText('after', `\nExample:\n  ${example}\n`)
      .action(async (options: { readonly json: boolean }) => done(await actions[name](options)));
  };
  reading('list', 'every device type that exists here', "virtio list --json | jq '.types[].name'");
  reading(
    'clauses',
    'the normative clauses of the specification, and what holds each',
    `virtio clauses --json | jq '.clauses[] | select(.number == "2.7.4.1")'`,
  );
  program
    .command('probe')
    .description(
      'what is behind a vhost-user socket: features, queues, configuration; the device is left alone',
    )
    .argument('<SOCKET>', 'path of the socket, or @NAME')
    .option(
      '--type <TYPE>',
      'the device type, which the protocol does not tell: names its features and its configuration',
    )
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExample:\n  virtio probe /tmp/disk.sock --type blk\n')
    .action(async (socket: string, options: ProbeArguments) => done(await actions.probe(socket, options)));
  program
    .command('bench')
    .description('drive the device behind a vhost-user socket, and measure it')
    .argument('<TYPE>', 'the device type: blk')
    .argument('<SOCKET>', 'path of the socket, or @NAME')
    .option('--rw <KIND>', rwNames.join(', '), 'randread')
    .option('--bs <BYTES>', 'of one request; k and M are known', '4096')
    .option('--iodepth <N>', 'requests under way at a time', '32')
    .option('--seconds <N>', 'how long', '5')
    .option('--queues <N>', 'queues to spread the requests over', '1')
    .option('--packed', 'a packed virtqueue where the back end has it', false)
    .option('--write-ok', 'what is on the disk may be destroyed: needed by all that writes', false)
    .option('--json', 'one JSON object', false)
    .addHelpText('after', benchHelp)
    .action(async (type: string, socket: string, options: BenchArguments) =>
      done(await actions.bench(type, socket, options)),
    );
  reading('doctor', 'what this machine can do, and what to install for the rest', 'virtio doctor');
  return program;
}

const machineNames = runMachines.map(({ name, title }) => `${name} (${title})`).join(', ');
function addServe(program: Command, serve: (type: string, args: ServeArguments) => Promise<void>): void {
  program
    .command('serve')
    .argument('<TYPE>', `a device type: ${servedNames.join(', ')}`)
    .description('lend one of our devices to a virtual machine, by vhost-user or vfio-user')
    .option('--socket-path <PATH>', 'where front ends come')
    .option('--socket <PATH>', 'the same')
    .option('--fd <NUMBER>', 'a socket that this program was started with, listening or connected')
    .option('--print-capabilities', 'what this back end can do, as JSON; nothing else', false)
    .option('--print-qemu-args', "QEMU's arguments for a machine with the device; nothing else", false)
    .option('--blk-file <FILE>', 'blk: a disk image, used in place, or an nbd:// address')
    .option('--format <FORMAT>', 'blk: raw or qcow2; as the name of the file says, unless told')
    .option('--scratch <MIB>', 'blk: a disk in memory, gone afterwards')
    .option('--null <MIB>', 'blk: a disk that keeps nothing, to measure the way there and back')
    .option('--read-only', 'blk: nothing is written', false)
    .option('--direct', "blk: past the host's page cache (O_DIRECT)", false)
    .option(
      '--write-through',
      'blk: a write is stable once it is done, unless the guest asks for less',
      false,
    )
    .option('--serial <TEXT>', 'blk: what the disk calls itself; virtio-ts unless told')
    .option('--guest-cid <CID>', "vsock: the guest's context ID; 3 unless told")
    .option('--uds-path <PATH>', 'vsock: the Unix socket that stands for the ports of the guest')
    .option(
      '--sibling <CID=PATH>',
      'vsock: the Unix socket that stands for the ports of another guest; may be given again',
      collect,
      [],
    )
    .option(
      '--shared-dir <DIR>',
      'fs: the folder; nothing but the rights of this program keeps it apart (there is no sandbox)',
    )
    .option('--tag <TAG>', 'fs: what the guest mounts it by; virtiofs unless told')
    .option('--cache <MODE>', `fs: what the guest may remember: ${cacheModes.join(', ')}; auto unless told`)
    .option('--readonly', 'fs: nothing is written', false)
    .option('--writeback', 'fs: the guest may hold writes back, where nobody else writes', false)
    .option('--xattr', 'fs: extended attributes of users', false)
    .option('--locks', 'fs: locks hold against other guests and programs of this machine', false)
    .option('--announce-submounts', 'fs: mounts in the folder are entered, as mounts of the guest', false)
    .option(
      '--uid-map <GUEST:HOST:COUNT>',
      'fs: whose the files of these users of the guest are; may be given again',
      collect,
      [],
    )
    .option('--gid-map <GUEST:HOST:COUNT>', 'fs: the same for groups', collect, [])
    .addOption(new Option('--sandbox <MODE>', 'fs: none, as there is none').hideHelp())
    .option('--net <NETWORK>', `net: what it is connected to, as for run: ${netForms}; user unless told`)
    .option('--mac <ADDRESS>', "net: the driver's address; one that is nobody's unless told")
    .option('--mtu <BYTES>', 'net: the largest packet, which the driver is told')
    .option('--no-offloads', 'net: leave no checksums and no segments to one another')
    .option('--no-mergeable', 'net: every frame received in one buffer')
    .option('--capture <FILE>', 'net: write all frames, as pcapng')
    .option('--queues <N>', 'blk, fs: request queues; net: pairs of queues', '1')
    .option('--queue-size <N>', 'blk, fs, net: descriptors in a queue at most; 1024 unless told')
    // What is offered anyway may be asked for, as with other programs.
    .addOption(new Option('--packed').default(true).hideHelp())
    .addOption(new Option('--event-idx').default(true).hideHelp())
    .addOption(new Option('--indirect').default(true).hideHelp())
    .option('--no-packed', 'offer no packed rings')
    .option('--no-event-idx', 'offer no event index')
    .option('--no-indirect', 'offer no indirect descriptors')
    .option(
      '--vfio-user [DRIVERS]',
      `lend a whole PCI function instead, by vfio-user, for ${pciInterfaces.join(', ')} drivers; modern unless told`,
    )
    .option('--no-inflight', 'do not keep what is in flight over our death')
    .option(
      '--sealed-memory',
      'take no memory that its owner could cut off: that would end this program',
      false,
    )
    .option('--once', 'end when the first front end leaves', false)
    .option('--trace <FILE>', 'write all that crosses the rings, as JSON lines')
    .option('--json', 'what happens and errors as JSON lines on stderr', false)
    .addHelpText('after', serveHelp)
    .action(serve);
}

function addDescriptors(program: Command, install: (args: DescriptorArguments) => Promise<void>): void {
  program
    .command('descriptors')
    .description('the files by which libvirt and others find our back ends')
    .addHelpText('after', descriptorsHelp)
    .command('install')
    .description('write them; to take them back, remove the files that it names')
    .option('--user', "into the user's own folder", false)
    .option('--folder <DIR>', 'into another one')
    .option('--json', 'one JSON object', false)
    .addHelpText('after', descriptorsHelp)
    .action(install);
}

const descriptorsHelp = '\nExample:\n  virtio descriptors install --user\n';

const serveHelp = `
Examples:
  truncate -s 64M disk.img
  virtio serve blk --socket-path /tmp/disk.sock --blk-file disk.img
  eval "qemu-system-x86_64 $(virtio serve blk --socket-path /tmp/disk.sock --scratch 64 --print-qemu-args) ..."
  virtio serve entropy --socket-path /tmp/rng.sock
  virtio serve fs --socket-path /tmp/fs.sock --shared-dir . --tag here --readonly
  virtio serve net --socket-path /tmp/net.sock --net user,forward=tcp:8080:80
  virtio serve blk --socket-path /tmp/disk.sock --blk-file disk.img --vfio-user      for QEMU 11's vfio-user-pci
  virtio serve vsock --socket-path /tmp/vsock.sock --uds-path /tmp/guest.vsock
  virtio serve console --socket-path /tmp/console.sock      your terminal is the guest's /dev/hvc0

It runs until Ctrl-C or SIGTERM, for one front end after the other.
`;

const busNames = runBuses.map(({ name }) => name).join(', ');

const runHelp = `
Examples:
  virtio run                                     a shell; Ctrl-A x leaves
  truncate -s 64M disk.img && virtio run --disk disk.img --exec 'mke2fs /dev/vda'
  echo hello | virtio run --exec 'tr a-z A-Z'
  virtio run --share .:here --exec 'du -s /mnt/here'
  virtio run --bus mmio --exec 'ls /sys/bus/virtio/devices -l'
  virtio run --net user,forward=tcp:8080:80 --capture frames.pcapng
  virtio run --machine uml --disk disk.img       the same at the speed of this machine

Without --exec the exit status is 0 when you leave or the guest powers off, 1 when it panics.
With --exec it is the command's.
`;

const benchHelp = `
Examples:
  virtio bench blk /tmp/disk.sock
  virtio bench blk /tmp/disk.sock --rw randwrite --write-ok --iodepth 1 --json | jq .latency.all.p99
`;

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** One line from Commander's error, with the help that belongs to it. */
function sayMistake(error: CommanderError, args: readonly string[]): string {
  const command = args.find((arg) =>
    ['run', 'serve', 'descriptors', 'list', 'clauses', 'doctor', 'probe', 'bench'].includes(arg),
  );
  const help = ['virtio', ...(command === undefined ? [] : [command]), '--help'].join(' ');
  if (error.code === 'commander.help') return `no command given; ${help} lists them`;
  const what = error.message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
  return `${what}; see ${help}`;
}
