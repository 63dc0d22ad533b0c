import type { ImageState, Usage, WantedReason } from '../state/cached-image.ts'
import type { Users } from './inventory.ts'

export interface UsageInput {
  readonly users: Users
  /** What the store holds; undefined: nothing. */
  readonly image: ImageState | undefined
  /** It stands in the static IMAGES. */
  readonly isStatic: boolean
  /** Its last users were opted out, not deleted: it is not kept for their return. */
  readonly optedOut: boolean
  readonly keepSeconds: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What is to be written of an image's users. */
export type UsagePlan =
  | { readonly action: 'none' }
  | { readonly action: 'remove' }
  | {
      readonly action: 'put'
      readonly usage: Usage
      /** Milliseconds since the epoch when the plan changes by itself, if it does. */
      readonly recheckAt?: number
    }

/** Decides what stands in an image's usage stanza. Pure. */
export function planUsage(input: UsageInput): UsagePlan {
  const { users, image, isStatic, now } = input
  const inUse = users.workloads > 0
  const keptUntil = inUse ? undefined : keptTime(input)
  const reasons: [WantedReason, boolean][] = [
    ['InUse', inUse || keptUntil !== undefined],
    ['Static', isStatic],
    ['Requested', image?.requested === true],
  ]
  const wanted = reasons.flatMap(([reason, holds]) => (holds ? [reason] : []))
  if (wanted.length === 0) return { action: image === undefined ? 'none' : 'remove' }
  const usage: Usage = {
    wanted,
    pods: users.pods,
    workloads: users.workloads,
    namespaces: users.namespaces.length,
    // Of what is kept without users it is known whom it is kept for.
    owners: keptUntil === undefined ? users.owners : (image?.usage?.owners ?? []),
    firstSeen: image?.usage?.firstSeen ?? timeOf(now),
    ...(keptUntil === undefined ? {} : { lastSeen: image?.usage?.lastSeen ?? timeOf(now) }),
  }
  return { action: 'put', usage, ...(keptUntil === undefined ? {} : { recheckAt: keptUntil }) }
}

/** Until when an image without users stays wanted; undefined: it does not. */
function keptTime({ image, optedOut, keepSeconds, now }: UsageInput): number | undefined {
  const usage = image?.usage
  if (usage === undefined || !usage.wanted.includes('InUse')) return undefined
  if (optedOut && usage.lastSeen === undefined) return undefined
  const lastSeen = usage.lastSeen === undefined ? now : Date.parse(usage.lastSeen)
  const until = lastSeen + keepSeconds * 1000
  return until > now ? until : undefined
}

/** Whether only numbers and names of users differ, of which news can wait. */
export function isCountsOnly(before: Usage | undefined, after: Usage): boolean {
  return (
    before !== undefined &&
    before.lastSeen === after.lastSeen &&
    before.wanted.join() === after.wanted.join()
  )
}

function timeOf(now: number): string {
  return new Date(now).toISOString()
}
