/** What is being done right now. */
export interface ProgressEvent {
  readonly step: 'index' | 'download' | 'unpack' | 'build';
  /** What it is done to, in words for a person. */
  readonly detail: string;
  /** How much of this step is done, 0–1, where that is known. */
  readonly fraction?: number;
}

/** Told of every step that takes time; never called when the answer is already in the cache. */
export type Progress = (event: ProgressEvent) => void;
