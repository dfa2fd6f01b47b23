import type { DeviceResources } from '../../device/admin/resource-object.ts';
import type { Json } from '../../device/json.ts';
import type { Link } from '../../link/endpoint.ts';
import type { Offload } from '../../link/offload.ts';

/** What IPsec made of a frame that came. */
export interface SecuredFrame {
  /** Lent until the next one is opened. Empty: to be dropped. */
  readonly frame: Uint8Array;
  readonly offload: Offload;
  /** Bits of `headerFlag`. */
  readonly flags: number;
  /** The resource object that it was opened with; 0 and 0 for none. */
  readonly resource: number;
  readonly resourceType: number;
}

/** Sends the frames of one transmit queue through IPsec: one at a time, which may become several. */
export interface FrameSealer {
  /** A frame was begun, and not all of it is sent. */
  readonly pending: boolean;
  /**
   * Begins with a frame, which may be changed and is lent until `send` returns. Says what cannot be, as in "a frame …".
   *
   * @param resource the association, of the driver's words; `resourceType` may be 0
   */
  begin(frame: Uint8Array, offload: Offload, resource: number, resourceType: number): string | undefined;
  /**
   * Sends what there is; false when the link has no room, and it is to be called again. Says what cannot be.
   */
  send(link: Link): boolean | string;
  /** Lets go of what is left. */
  forget(): void;
}

/** IPsec, as it is lent to a network device. */
export interface FrameSecurity {
  readonly resources: DeviceResources;
  /** For one transmit queue. */
  sealer(): FrameSealer;
  /** Opens a frame that came. It stays as it is, and says so, where that cannot be. */
  open(frame: Uint8Array, offload: Offload): SecuredFrame;
  /** The frame that was opened last was taken: it will not come again. */
  taken(): void;
  save(): Json;
  restore(state: Json): void;
}
