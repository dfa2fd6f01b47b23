import type { AdminQualifierName, AdminStatusName } from '../../spec/admin.ts';

/**
 * A command that the device does not carry out. It is thrown where that is found, and caught where the
 * command is answered: it becomes `status` and `status_qualifier`, and goes no further.
 */
export class AdminRefusal extends Error {
  override readonly name = 'AdminRefusal';
  readonly status: Exclude<AdminStatusName, 'OK'>;
  readonly qualifier: Exclude<AdminQualifierName, 'OK'>;

  constructor(
    status: Exclude<AdminStatusName, 'OK'>,
    qualifier: Exclude<AdminQualifierName, 'OK'>,
    message: string,
  ) {
    super(message);
    this.status = status;
    this.qualifier = qualifier;
  }
}

/** A field of the command's own data has a value that cannot be. */
export const invalidField = (message: string): AdminRefusal =>
  new AdminRefusal('EINVAL', 'INVALID_FIELD', message);

/** The capability or the resource object is not there. */
export const notThere = (message: string): AdminRefusal =>
  new AdminRefusal('ENXIO', 'INVALID_FIELD', message);

/** Something that exists stands in the way. */
export const busy = (message: string): AdminRefusal => new AdminRefusal('EBUSY', 'INVALID_COMMAND', message);

/** The driver has all that it may have. */
export const exhausted = (message: string): AdminRefusal => new AdminRefusal('ENOSPC', 'NORESOURCE', message);
