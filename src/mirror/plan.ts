import type { ImageState, Mirror } from '../state/cached-image.ts'

/** Code of a copy whose place belongs to another image. */
export const COLLISION = 'PlaceTaken'

/** First wait after a failed copy; doubles with each attempt. Long enough for a registry to be restarted. */
const FIRST_RETRY_MS = 15_000
/** Longest wait: a copy that keeps failing costs one try an hour. */
const LAST_RETRY_MS = 3_600_000
/** No Retry-After is heeded for longer: registries count by hours or days, and a slip of units must not end an image's copies. */
const LONGEST_ASKED_MS = 86_400_000

/** Reasons that stand in the entry, for people to see: nothing that kip does by itself will change them. */
const BLOCKING: ReadonlySet<string> = new Set(['NeedsCredentials', COLLISION])

/** What the decision says of mirroring one image. */
export interface MirrorDecision {
  readonly act: boolean
  readonly code: string
  readonly text: string
}

/**
 * The entry that should stand for an image's copy, or undefined to leave what stands.
 *
 * Only a copy that is wanted and not there, or in doubt, becomes `Pending`; a claim is given back when its worker is gone. What
 * was verified once keeps its digest through every later state, so pods go on starting from it.
 *
 * @param input.registry key of the entry: the backup registry as configured
 * @param input.reference reference of the copy, with its tag
 * @param input.liveWorkers workers whose claims hold
 * @param input.isDoubted whether a node could not pull the copy, so that it is to be verified anew
 * @param input.now milliseconds since the epoch
 */
export function planMirror(input: {
  readonly image: ImageState
  readonly decision: MirrorDecision
  readonly registry: string
  readonly reference: string
  readonly liveWorkers: ReadonlySet<string>
  readonly isDoubted: boolean
  readonly now: number
}): Mirror | undefined {
  const { image, decision, registry, reference, liveWorkers, isDoubted, now } = input
  const standing = mirrorOf(image, registry)
  // A copy at another place (the mapping was changed) says nothing about this one.
  const entry = standing?.reference === reference ? standing : undefined
  const base = {
    registry,
    reference,
    ...(entry?.digest === undefined ? {} : { digest: entry.digest }),
    ...(entry?.attempts === undefined ? {} : { attempts: entry.attempts }),
  }
  const holds = entry?.worker !== undefined && liveWorkers.has(entry.worker)
  if (!decision.act) {
    const { code, text: message } = decision
    if (BLOCKING.has(code)) {
      const stands = entry?.state === 'Blocked' && entry.code === code
      return stands ? undefined : { ...base, state: 'Blocked', code, message }
    }
    // The source may be out of reach of kip alone, and pods be pointed at a copy that is gone.
    if (entry?.state === 'Verified' && isDoubted) return { ...base, state: 'Pending' }
    // Else it would look like work for as long as the source stays away.
    return entry?.state === 'Copying' && !holds
      ? { ...base, state: 'Failed', code, message }
      : undefined
  }
  const pending: Mirror = { ...base, state: 'Pending' }
  switch (entry?.state) {
    case undefined:
      return pending
    case 'Verified':
      return entry.digest === image.source?.digest && !isDoubted ? undefined : pending
    case 'Pending':
      return undefined
    case 'Copying':
      return holds ? undefined : pending
    case 'Blocked':
    case 'Failed':
      return entry.retryAt === undefined || Date.parse(entry.retryAt) <= now ? pending : undefined
  }
}

/** The entry of one backup registry. */
export function mirrorOf(image: ImageState, registry: string): Mirror | undefined {
  return image.mirrors.find((mirror) => mirror.registry === registry)
}

/** When an entry that waits is to be looked at again, in milliseconds since the epoch; undefined: on a change only. */
export function dueAt(entry: Mirror | undefined): number | undefined {
  if (entry?.state !== 'Failed' && entry?.state !== 'Blocked') return undefined
  return entry.retryAt === undefined ? undefined : Date.parse(entry.retryAt)
}

/**
 * Milliseconds to wait before copy attempt `attempts + 1`, at least `atLeastMs` (a registry's Retry-After), of which a day
 * counts.
 *
 * @param random in [0, 1); spreads retries over the upper half of the wait
 */
export function retryDelay(attempts: number, random: number, atLeastMs = 0): number {
  const full = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, attempts - 1))
  return Math.max(Math.min(atLeastMs, LONGEST_ASKED_MS), Math.round(full * (0.5 + random / 2)))
}
