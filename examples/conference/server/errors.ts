import type { ErrorCode } from '../shared/protocol.ts';

/** A request that cannot be done, with a reason that the client may read. */
export class RequestError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
