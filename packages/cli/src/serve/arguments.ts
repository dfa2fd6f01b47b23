import type { ShareArguments } from '../share/served.ts';

/** The options of `virtio serve`, as they were typed. */
export interface ServeArguments extends ShareArguments {
  readonly socketPath?: string;
  /** rust-vmm's spelling. */
  readonly socket?: string;
  readonly fd?: string;
  readonly printCapabilities: boolean;
  readonly printQemuArgs: boolean;
  readonly queues: string;
  readonly queueSize?: string;
  readonly packed: boolean;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
  /** True without a value. */
  readonly vfioUser?: string | boolean;
  readonly inflight: boolean;
  readonly sealedMemory: boolean;
  readonly blkFile?: string;
  readonly format?: string;
  readonly scratch?: string;
  readonly null?: string;
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly writeThrough: boolean;
  readonly serial?: string;
  readonly guestCid?: string;
  readonly udsPath?: string;
  /** `CID=PATH`, again and again. */
  readonly sibling: readonly string[];
  readonly net?: string;
  readonly mac?: string;
  readonly mtu?: string;
  readonly offloads: boolean;
  readonly mergeable: boolean;
  readonly capture?: string;
  readonly once: boolean;
  readonly trace?: string;
  readonly json: boolean;
}
