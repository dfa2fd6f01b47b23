import type { Endpoint, Link } from './endpoint.ts';
import { copyOffload, noOffloads, type Offload, type TakenOffloads } from './offload.ts';

/** An end of a link that keeps what it is given, as long as it has room. */
export class RecordingEnd implements Endpoint {
  readonly frames: Uint8Array[] = [];
  readonly offloads: Offload[] = [];
  readonly carriers: boolean[] = [];
  readonly mores: boolean[] = [];
  takes: TakenOffloads;
  /** Frames that are still taken. */
  space = Number.POSITIVE_INFINITY;
  /** Times that it was told of room. */
  rooms = 0;
  link!: Link;
  /** Runs when a frame was taken. */
  onFrame: ((frame: Uint8Array) => void) | undefined;
  onRoom: (() => void) | undefined;

  constructor(takes: TakenOffloads = noOffloads) {
    this.takes = takes;
  }

  attached(link: Link): void {
    this.link = link;
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    if (this.space === 0) return false;
    this.space--;
    this.frames.push(frame.slice());
    this.offloads.push(copyOffload(offload));
    this.onFrame?.(frame);
    return true;
  }

  room(): void {
    this.rooms++;
    this.onRoom?.();
  }

  more(follow: boolean): void {
    this.mores.push(follow);
  }

  carrier(up: boolean): void {
    this.carriers.push(up);
  }

  /** Has room for so many frames more, and says so. */
  makeRoom(frames: number): void {
    this.space = frames;
    this.link.room();
  }
}
