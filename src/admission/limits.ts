/** Bounds of the webhook's server; times in milliseconds. */
export interface ServerLimits {
  /** Bytes of a body. */
  readonly body: number
  /** Requests being received or answered; beyond it pods are admitted undecided. */
  readonly inFlight: number
  readonly connections: number
  readonly handshakeMs: number
  readonly headersMs: number
  readonly requestMs: number
  readonly keepAliveMs: number
  /** How long a close asks clients to leave, with each answer, before it ends the connections that nobody uses. */
  readonly leaveMs: number
  /** How long it then waits for requests in flight. */
  readonly closeMs: number
}

export const defaultLimits: ServerLimits = Object.freeze({
  // controller-runtime's: an object and its predecessor of 3 MiB each, and as much again for the rest as it may need.
  body: 7 * 1024 * 1024,
  // An answer takes less than a millisecond: with so many waiting, the last would get no answer in time.
  inFlight: 200,
  // An API server opens one for each request that it has in flight; more would be somebody else.
  connections: 1_000,
  handshakeMs: 10_000,
  headersMs: 10_000,
  // The API server waits two seconds by default, at most 30.
  requestMs: 15_000,
  // Go's client drops an idle connection after 90 s. If the server were first, a request could cross its close, and Go
  // does not send a POST again.
  keepAliveMs: 120_000,
  // A busy connection carries a request every few milliseconds. Ended between two of them, it would take along the one that
  // is on its way, which Go does not send again.
  leaveMs: 1_000,
  // Whoever asked has stopped waiting by then.
  closeMs: 5_000,
})
