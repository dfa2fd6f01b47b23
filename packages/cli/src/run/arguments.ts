/** The options of `virtio run`, as they were typed. */
export interface RunArguments {
  readonly machine: string;
  readonly bus?: string;
  readonly disk: readonly string[];
  readonly memory: string;
  readonly vsock?: string;
  /** Folders that the guest has; the current one unless told. */
  readonly share: readonly string[];
  /** What network devices are connected to, in this order; a user network unless told. */
  readonly net: readonly string[];
  readonly capture?: string;
  readonly exec?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly fresh: boolean;
  readonly trace?: string;
  readonly json: boolean;
}
