import type { Offload, TakenOffloads } from './offload.ts';

/**
 * Who is at one end of an Ethernet link: a network device, a switch's port, a network in user mode, a socket. Frames begin
 * with the destination's MAC address and have no check sequence.
 */
export interface Endpoint {
  /** What may be left to do to frames that it is given; looked at for each, as it may change. */
  readonly takes: TakenOffloads;
  /** The link is there: from now on there is somebody to send to. Called once, before anything else. */
  attached(link: Link): void;
  /**
   * Takes a frame, which is lent until this returns. False when there is no room: then nothing of it was taken, and
   * `link.room()` says when to come again. One who would rather lose frames than let others wait returns true.
   */
  receive(frame: Uint8Array, offload: Offload): boolean;
  /** The other end has room again, after it had none. */
  room(): void;
  /**
   * More frames follow at once, or no more do: between the two an end that tells somebody of each frame may tell of many
   * together. Absent when it makes no difference.
   */
  more?(follow: boolean): void;
  /** The link was cut, or is there again; frames that come in between are lost. Absent when it does not matter. */
  carrier?(up: boolean): void;
}

/** A link as one of its ends sees it. */
export interface Link {
  /** False while it is cut. */
  readonly up: boolean;
  /** What the other end takes unfinished. More may be sent: the link finishes it. */
  readonly takes: TakenOffloads;
  /**
   * Gives a frame to the other end; the bytes are lent until this returns. False when there is no room: the same frame is
   * to be sent again when `room` is called.
   *
   * @param offload what is left to do to it; nothing unless told
   */
  send(frame: Uint8Array, offload?: Offload): boolean;
  /** Tells the other end that more frames follow at once; and, without fail and within the same turn, that no more do. */
  more?(follow: boolean): void;
  /** Tells the other end that there is room again where `receive` had returned false. */
  room(): void;
}
