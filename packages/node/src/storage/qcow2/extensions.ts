import type { HostError } from 'virtio/errors';
import { printable } from '../printable.ts';

/** Types of header extensions. */
export const extension = {
  end: 0,
  backingFormat: 0xe279_2aca,
  featureNames: 0x6803_f857,
  encryption: 0x0537_be77,
} as const;

/** What the extensions behind a header say, as far as it matters here. */
export interface Extensions {
  readonly backingFormat: string | undefined;
  /** Names of incompatible features, by their bit. */
  readonly featureNames: ReadonlyMap<number, string>;
}

const nameEntry = 48;

/** Reads the extensions from `start` on, no further than `end`. What is not known can be passed over, says the format. */
export function readExtensions(
  header: Uint8Array,
  start: number,
  end: number,
  bad: (what: string) => HostError,
): Extensions {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  let backingFormat: string | undefined;
  const featureNames = new Map<number, string>();
  for (let at = start; at + 8 <= Math.min(end, header.length); ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === extension.end) break;
    if (at + 8 + length > Math.min(end, header.length)) {
      throw bad(`has a header extension of ${length} bytes at ${at}, beyond the end of its header`);
    }
    const data = header.subarray(at + 8, at + 8 + length);
    if (type === extension.backingFormat) backingFormat = text(data);
    if (type === extension.encryption) throw bad('is encrypted (LUKS), which cannot be read here');
    if (type === extension.featureNames) {
      for (let entry = 0; entry + nameEntry <= length; entry += nameEntry) {
        if (data[entry] !== 0) continue;
        featureNames.set(data[entry + 1] ?? 0, text(data.subarray(entry + 2, entry + nameEntry)));
      }
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return { backingFormat, featureNames };
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return printable(end === -1 ? bytes : bytes.subarray(0, end));
}
