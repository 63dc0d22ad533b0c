/** The peer broke HTTP/1.1; the connection that brought it is never used again. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** The connection ended, or broke, before the answer was whole. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError'
  /** No byte of an answer had come: the request may never have been seen. */
  readonly beforeResponse: boolean

  constructor(message: string, beforeResponse: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.beforeResponse = beforeResponse
  }
}

/** Connected, but nothing moved for longer than it may take. */
export class StalledError extends Error {
  override readonly name = 'StalledError'
}
