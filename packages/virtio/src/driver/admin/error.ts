import { HostError } from '../../errors.ts';
import {
  type AdminQualifierName,
  type AdminStatusName,
  adminQualifier,
  adminStatus,
} from '../../spec/admin.ts';

/** The device did not carry out a command. */
export class AdminError extends HostError {
  /** What became of it. A value that the specification reserves is told as EINVAL. */
  readonly status: Exclude<AdminStatusName, 'OK'>;
  /** Why, for whoever debugs it. A value that the specification reserves is told as INVALID_COMMAND. */
  readonly qualifier: AdminQualifierName;

  constructor(status: Exclude<AdminStatusName, 'OK'>, qualifier: AdminQualifierName, what: string) {
    super('IO_ERROR', `the device did not carry out ${what}: ${status}, ${qualifier}`);
    this.status = status;
    this.qualifier = qualifier;
  }
}

/**
 * The error for an answer; `undefined` when the command was carried out.
 *
 * @spec 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
 */
export function adminError(status: number, qualifier: number, what: string): AdminError | undefined {
  const name = nameOf(adminStatus, status) ?? 'EINVAL';
  if (name === 'OK') return undefined;
  return new AdminError(name, nameOf(adminQualifier, qualifier) ?? 'INVALID_COMMAND', what);
}

function nameOf<N extends string>(table: Readonly<Record<N, number>>, value: number): N | undefined {
  // The keys of a table of names are its names.
  return (Object.keys(table) as N[]).find((name) => table[name] === value);
}
