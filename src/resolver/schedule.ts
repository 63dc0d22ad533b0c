import type { Source } from '../state/cached-image.ts'

/** First wait after a source that did not answer; doubles with each try. A registry that restarts is back by then. */
const firstRetryMs = 15_000
/** Longest wait: a source that stays away costs two requests an hour. */
const lastRetryMs = 1_800_000
/** What is missing or wants credentials changes when somebody acts, who does not want to wait for the interval. */
const firstAnsweredMs = 60_000
/** No Retry-After is heeded for longer: registries count by hours or days, and a slip of units must not leave a source unseen. */
const longestAskedMs = 86_400_000

/**
 * Milliseconds until a source is looked at again.
 *
 * @param input.failures looks in a row, this one included, that did not find the source available
 * @param input.random in [0, 1): spreads looks over a tenth of the interval, and retries over half of the wait
 */
export function nextLookMs(input: {
  readonly state: Source['state']
  readonly failures: number
  readonly intervalMs: number
  readonly retryAfterMs?: number | undefined
  readonly random: number
}): number {
  const { state, failures, intervalMs, retryAfterMs = 0, random } = input
  if (state === 'Available') return atLeast(intervalMs * (0.9 + random / 10), retryAfterMs)
  const first = state === 'Unreachable' ? firstRetryMs : firstAnsweredMs
  const last = state === 'Unreachable' ? lastRetryMs : Math.max(intervalMs, firstAnsweredMs)
  const full = Math.min(last, first * 2 ** Math.min(failures - 1, 30))
  return atLeast(full * (0.5 + random / 2), retryAfterMs)
}

/**
 * Milliseconds until the first look after a start at a source that is known: spread, so that a new leader does not ask
 * for everything at once while new images wait.
 */
export function firstLookMs(intervalMs: number, random: number): number {
  return atLeast(Math.min(intervalMs, firstSpreadMs) * random, 0)
}

const firstSpreadMs = 300_000

function atLeast(ms: number, atLeastMs: number): number {
  return Math.max(1, Math.round(ms), Math.min(atLeastMs, longestAskedMs))
}
