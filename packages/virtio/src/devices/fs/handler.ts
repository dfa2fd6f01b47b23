import type { Eventually } from '../../device/eventually.ts';
import type { FuseRequest } from './request.ts';
import type { Session } from './session.ts';
import { type ErrnoName, FsError } from './spec-errno.ts';

/**
 * Carries out one kind of request, of which the input holds the body. It has answered when it returns, or when its promise
 * settles; an FsError that it throws is the answer.
 */
export type Handler = (session: Session, request: FuseRequest) => Eventually<void>;

/** Answers with what a tree gave, now or later. `answer` is one function for all requests, so that none costs one. */
export function answerWith<T>(
  value: Eventually<T>,
  session: Session,
  request: FuseRequest,
  answer: (session: Session, request: FuseRequest, value: T) => void,
): Eventually<void> {
  if (value instanceof Promise) return value.then((given) => answer(session, request, given));
  answer(session, request, value);
}

export const answerDone = (session: Session, request: FuseRequest): void => session.done(request);

/** For an operation that a tree does not have. */
export function missing(code: ErrnoName = 'ENOSYS'): never {
  throw FsError.of(code);
}

/**
 * A length or an offset that a tree may be given.
 *
 * @throws {FsError} of that code for one that no number holds exactly.
 */
export function bounded(value: number, code: ErrnoName = 'EINVAL'): number {
  if (value > Number.MAX_SAFE_INTEGER) throw FsError.of(code);
  return value;
}
