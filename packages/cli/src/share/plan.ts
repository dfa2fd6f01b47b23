import { basename, resolve } from 'node:path';
import { usage } from '../exit-status.ts';

/** A folder of this machine that a guest is to have. */
export interface SharePlan {
  readonly folder: string;
  /** It is at `/mnt/TAG` in the guest. */
  readonly tag: string;
  readonly readOnly: boolean;
  /** Nobody asked for it: where it cannot be shared, it is not. */
  readonly byDefault: boolean;
}

/** What `--share` takes, for people. */
const shareForms = 'DIR[:TAG][,ro] | none';

/** Bytes that the device has for a tag. */
const longestTag = 36;

/**
 * Reads what `--share` was given. Nothing said is the current folder, for reading, as `host`.
 *
 * @throws {CommandError} that names the first mistake.
 */
export function parseShares(texts: readonly string[]): SharePlan[] {
  if (texts.length === 0) {
    return [{ folder: process.cwd(), tag: 'host', readOnly: true, byDefault: true }];
  }
  if (texts.includes('none')) {
    if (texts.length === 1) return [];
    throw usage('--share none does not go with another --share; leave one of them out');
  }
  const plans = texts.map(parseShare);
  for (const [index, { tag }] of plans.entries()) {
    if (plans.findIndex((other) => other.tag === tag) === index) continue;
    throw usage(`--share: two folders would be /mnt/${tag}; give one another tag: DIR:TAG`);
  }
  return plans;
}

/** A name that itself ends in `,ro` or `:tag` is given as `name,ro,ro` or `name:tag:tag`. */
function parseShare(text: string): SharePlan {
  const readOnly = text.endsWith(',ro');
  const place = readOnly ? text.slice(0, -',ro'.length) : text;
  const [, named, given] = /^(.*):([^/:]*)$/.exec(place) ?? [];
  const folder = named ?? place;
  if (folder === '') throw usage(`--share ${text} names no folder; give ${shareForms}`);
  const tag = given ?? (basename(resolve(folder)) || 'root');
  checkTag(`--share ${text}`, tag, 'give one behind a colon,');
  return { folder, tag, readOnly, byDefault: false };
}

/** @throws {CommandError} for a tag that is no name of a folder below `/mnt`. */
export function checkTag(option: string, tag: string, hint = 'give one'): void {
  if (/^[\w.-]+$/.test(tag) && tag.length <= longestTag && !/^\.\.?$/.test(tag)) return;
  throw usage(
    `${option}: ${tag} is no tag; ${hint} of up to ${longestTag} letters, digits, '.', '_' and '-'`,
  );
}
