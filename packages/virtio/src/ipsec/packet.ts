import { get16, get32 } from '../link/bytes.ts';
import { networkOffset, PacketHeaders } from '../link/headers.ts';
import { ipProtocol } from '../link/numbers.ts';
import { udpHeaderLength } from './association.ts';
import { packetLength } from './ip-fields.ts';

/** Where ESP is in a frame, found without trusting it. One serves many frames. */
export class EspPacket {
  readonly headers: PacketHeaders = new PacketHeaders();
  spi = 0;
  /** Where SPI and sequence number are, and where the packet ends. */
  espAt = 0;
  end = 0;
  /** The port that it is sent to, of ESP in UDP; 0 where it is in IP itself. */
  port = 0;

  /** False when there is no whole packet of ESP in it. */
  read(frame: Uint8Array): boolean {
    const { headers } = this;
    const networkAt = networkOffset(frame);
    if (networkAt < 0 || !headers.read(frame, networkAt) || headers.fragment) return false;
    const length = packetLength(frame, headers);
    if (length < 0) return false;
    this.end = networkAt + length;
    this.espAt = headers.transportAt;
    this.port = 0;
    if (headers.protocol === ipProtocol.UDP) {
      const { transportAt } = headers;
      if (transportAt + udpHeaderLength > this.end) return false;
      const datagram = get16(frame, transportAt + 4);
      if (datagram < udpHeaderLength || transportAt + datagram > this.end) return false;
      this.port = get16(frame, transportAt + 2);
      this.end = transportAt + datagram;
      this.espAt += udpHeaderLength;
    } else if (headers.protocol !== ipProtocol.ESP) return false;
    if (this.espAt + 8 > this.end) return false;
    this.spi = get32(frame, this.espAt);
    // In UDP four bytes of 0 mark what is not ESP.
    return this.spi !== 0;
  }
}
