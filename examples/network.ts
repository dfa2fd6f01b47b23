/**
 * A network in user mode, with a guest that is a program: it asks for a name, fetches from a server of this machine, and is
 * reached by a forwarded port and by the program itself. `npm run build && npx tsx examples/network.ts`
 */
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { connect } from 'virtio/link';
import { Station, type TcpStream, userNetwork } from 'virtio/network';
import { nodeUplink } from 'virtio-node/network';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

async function textOf(stream: TcpStream): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of stream) text += decoder.decode(bytes, { stream: true });
  return text;
}

/** A server of this machine's, as guests find it at 10.0.2.2. */
const server = createServer((socket) => socket.end('hello from the host')).listen(0, '127.0.0.1');
await once(server, 'listening');
// Of a socket with an address of IP, which this is.
const { port } = server.address() as AddressInfo;

/** The network, and at the other end of the cable who could as well be a virtual machine. */
const network = userNetwork({ uplink: nodeUplink() });
const guest = new Station({ takes: network.takes });
connect(network, guest);

const stream = await guest.connect('10.0.2.2', port);
stream.end();
console.log(await textOf(stream));

guest.listen(80, async (request) => {
  await request.write(encode('hello from the guest'));
  await request.close();
});
const forward = await network.forward({ protocol: 'tcp', guestPort: 80 });
const [greeting] = await once(createConnection(forward.port, forward.address), 'data');
console.log(String(greeting));

network.listen({ address: '10.0.2.100', port: 7 }, async (echo) => {
  for await (const bytes of echo) await echo.write(bytes);
  echo.end();
});
const echo = await guest.connect('10.0.2.100', 7);
await echo.write(encode('hello from a service of the program'));
echo.end();
console.log(await textOf(echo));

const pinged = await guest.ping('10.0.2.2', encode('ping'));
console.log(`${pinged.length} bytes back, ${network.statistics.allDropped} frames dropped`);
network.close();
guest.close();
server.close();
