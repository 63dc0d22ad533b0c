import type { Source } from '../state/cached-image.ts'

/** First wait after a source that did not answer; doubles with each try. A registry that restarts is back by then. */
const firstRetryMs = 15_000
/** Longest wait: a source that stays away costs two requests an hour. */
const lastRetryMs = 1_800_000
/** What is missing or wants credentials changes when somebody acts, who does not want to wait for the interval. */
const firstAnsweredMs = 60_000
/** Longer waits overflow a timer, which then fires at once. */
const longestTimerMs = 2 ** 31 - 1

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
  if (state === 'Available') return clamp(intervalMs * (0.9 + random / 10), retryAfterMs)
  const first = state === 'Unreachable' ? firstRetryMs : firstAnsweredMs
  const last = state === 'Unreachable' ? lastRetryMs : Math.max(intervalMs, firstAnsweredMs)
  const full = Math.min(last, first * 2 ** Math.min(failures - 1, 30))
  return clamp(full * (0.5 + random / 2), retryAfterMs)
}

/**
 * Milliseconds until the first look after a start at a source that is known: spread, so that a new leader does not ask
 * for everything at once while new images wait.
 */
export function firstLookMs(intervalMs: number, random: number): number {
  return clamp(Math.min(intervalMs, firstSpreadMs) * random, 0)
}

const firstSpreadMs = 300_000

function clamp(ms: number, atLeastMs: number): number {
  return Math.min(longestTimerMs, Math.max(1, Math.round(ms), atLeastMs))
}
