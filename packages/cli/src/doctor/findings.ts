/** What `virtio doctor` says of one thing. */
export interface Check {
  readonly name: string;
  /** `lacking` keeps `virtio run` from working here; `optional` is needed for something else only. */
  readonly state: 'ok' | 'optional' | 'lacking';
  /** What was found. */
  readonly found: string;
  /** What to do about it; absent where nothing is to be done. */
  readonly advice?: string;
}
