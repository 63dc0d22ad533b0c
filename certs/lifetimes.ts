/** How long certificates live and when they are replaced; all in milliseconds. */
export interface Lifetimes {
  readonly authorityMs: number
  readonly servingMs: number
  /** Part of a certificate's life after which it is replaced. */
  readonly replaceAt: number
  /** How long before now a new certificate is valid, for clients whose clock is behind. */
  readonly backdateMs: number
  /** How long clients get to learn of a new authority after the bundle with it was read back. */
  readonly trustDelayMs: number
  /** How long a former authority stays trusted after the last certificate of it was replaced. */
  readonly overlapMs: number
}

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** What an identity lives by where nobody says otherwise. */
export const defaultLifetimes: Lifetimes = Object.freeze({
  // A forgotten kip keeps working for months, a stolen key does not for years. What an authority has left when it is
  // replaced (146 days) is longer than a serving certificate's life, so those are never cut short in normal work.
  authorityMs: 365 * day,
  servingMs: 90 * day,
  // Before two thirds of the life, so that monitoring that warns there never does.
  replaceAt: 0.6,
  backdateMs: hour,
  // An API server learns of a changed webhook configuration by watch, within a second; this leaves room for one whose
  // watch broke and is being opened again.
  trustDelayMs: minute,
  // Replicas follow within 10 s; a day leaves room for one that was cut off from the API server.
  overlapMs: day,
})
