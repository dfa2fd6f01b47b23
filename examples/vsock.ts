/**
 * Sockets between a guest and its host: a service in one process, asked through the driver in both directions.
 * `npm run build && npx tsx examples/vsock.ts`
 */
import { openVsock, vsockDevice } from 'virtio/devices/vsock';
import { Loopback } from 'virtio/transports/loopback';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The host: whoever connects to port 1024 gets back in capitals what it sends. */
const host = vsockDevice({ guestCid: 3 });
host.listen(1024, async (stream) => {
  for await (const bytes of stream) await stream.write(encode(decode(bytes).toUpperCase()));
  stream.end();
});

/** The guest: a stream to the host, and a port of its own that takes messages. */
const guest = await openVsock(new Loopback(host));
const stream = await guest.connect(1024);
await stream.write(encode('from the guest, '));
await stream.write(encode('and back'));
stream.end();
let heard = '';
for await (const bytes of stream) heard += decode(bytes);
console.log(heard);

guest.listenSeqpacket(22, async (socket) => {
  for await (const { data } of socket) await socket.send(encode(`${data.length} bytes`));
  socket.end();
});
const messages = await host.connectSeqpacket(22);
for (const size of [5, 0, 7000]) await messages.send(new Uint8Array(size));
messages.end();
for await (const { data } of messages) console.log(decode(data));
await guest.close();
