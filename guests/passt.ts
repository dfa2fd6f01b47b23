import { ensureTool, GuardedChild } from 'virtio-node/guests';

/** Where passt has what guests look for: addresses as our own user network has them, and this machine's own services. */
export const passtHost = '10.0.2.2';

/** A running passt, which makes a guest's connections its own, at a socket. */
export async function startPasst(socket: string, ...args: readonly string[]): Promise<GuardedChild> {
  const tool = await ensureTool('passt', { path: [] });
  const child = await GuardedChild.start(
    tool.file,
    [
      ...['--foreground', '--socket', socket, '--runas', `${process.getuid?.() ?? 0}`],
      ...['--address', '10.0.2.15', '--netmask', '24', '--gateway', passtHost, '--dns', '10.0.2.3'],
      ...['--map-host-loopback', passtHost, '--tcp-ports', 'none', '--udp-ports', 'none'],
      ...args,
    ],
    { name: 'passt', environment: tool.environment },
  );
  // The socket is there before anybody listens at it, and who tries it is its one guest.
  while (!/You can (now )?start qemu/.test(child.complaints)) {
    if (child.hasEnded) throw await child.ended;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return child;
}
