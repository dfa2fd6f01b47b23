import { connect } from '../../link/index.ts';
import { userNetwork } from '../network.ts';
import { Station } from '../station.ts';
import type { TcpStream } from '../tcp/index.ts';
import type { Uplink } from '../uplink.ts';

/** A station whose network has this uplink. */
export function stationOver(uplink: Uplink): Station {
  const network = userNetwork({ uplink });
  const station = new Station({ takes: network.takes });
  connect(station, network);
  return station;
}

/** The address that the network's name server has for a name. */
export async function addressOf(station: Station, name: string): Promise<string> {
  const labels = name.split('.').flatMap((label) => [label.length, ...encode(label)]);
  const query = Uint8Array.of(0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1);
  const answer = await new Promise<Uint8Array>((resolve) => {
    const socket = station.socket(5353, (bytes) => resolve(bytes.slice()));
    socket.send(query, '10.0.2.3', 53);
  });
  return answer.subarray(answer.length - 4).join('.');
}

export async function textOf(stream: TcpStream): Promise<string> {
  let text = '';
  for await (const bytes of stream) text += decode(bytes);
  return text;
}

export function encode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

export function decode(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
