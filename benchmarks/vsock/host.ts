/** The host's side of the benchmark: Unix sockets for its ports, at each of the places that are its arguments. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { port } from './ports.ts';

const piece = Buffer.alloc(65_536, 3);

const services: readonly (readonly [number, (socket: Socket) => void])[] = [
  [port.echo, (socket) => void socket.pipe(socket)],
  [port.sink, (socket) => void socket.resume()],
  [
    port.source,
    (socket) => {
      const give = (): void => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on('drain', give);
      give();
    },
  ],
];

for (const place of process.argv.slice(2)) {
  for (const [number, serve] of services) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      serve(socket);
    });
    await once(server.listen(`${place}_${number}`), 'listening');
  }
}
process.send?.('listening');
