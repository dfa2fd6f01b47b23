import { type Segmentation, segmentation } from '../link/index.ts';
import { ipProtocol } from '../link/numbers.ts';
import type { IpSender } from './ip-send.ts';
import type { TcpSegmentOut } from './tcp/index.ts';

/** Gives segments the headers that they need, and says what is left to do to them. */
export function tcpSender(sender: IpSender): (segment: TcpSegmentOut) => boolean {
  // One object for all: whoever keeps it longer than a call keeps a copy.
  const offload = {
    needsChecksum: true,
    checksumStart: 0,
    checksumOffset: 16,
    checksumValid: false,
    // What the field holds changes, and its type is of the first value otherwise.
    segmentation: segmentation.NONE as Segmentation,
    segmentSize: 0,
    headerLength: 0,
    ecn: false,
    tunnel: undefined,
  };
  return ({ source, destination, bytes, offset, length, headerLength, segmentSize }) => {
    const ipv4 = source.length === 4;
    offload.checksumStart = sender.payloadOffset(ipv4 ? 4 : 6);
    offload.segmentSize = segmentSize;
    const whole = segmentSize === 0;
    offload.segmentation = whole ? segmentation.NONE : ipv4 ? segmentation.TCP4 : segmentation.TCP6;
    offload.headerLength = whole ? 0 : offload.checksumStart + headerLength;
    return sender.sendInPlace(source, destination, ipProtocol.TCP, bytes, offset, length, offload);
  };
}
