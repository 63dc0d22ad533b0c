import type { ImageState } from '../state/cached-image.ts'
import { type Verdict, verdict } from './codes.ts'
import { decideMirror } from './mirror.ts'
import { policiesOf } from './policy.ts'
import {
  type DecisionSettings,
  isOutdated,
  isSourceLost,
  isUnwanted,
  type Subject,
  verifiedCopy,
} from './subject.ts'

/** One name under which the nodes are to hold an image. */
export interface CacheReference {
  /** Exactly as a kubelet will be asked for it. */
  readonly reference: string
  /** Its failure is no failure of the image. */
  readonly bestEffort: boolean
}

export interface CacheVerdict extends Verdict {
  readonly references: readonly CacheReference[]
  /** Milliseconds since the epoch when the answer changes by itself, if it does. */
  readonly recheckAt?: number
}

/** What a decision depends on besides the image and the settings. */
export interface CacheCircumstances {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** Every kubelet has a pod show credentials for what another pod pulled with some. */
  readonly kubeletsCheck: boolean
}

/**
 * Under which names the nodes are to hold an image now.
 *
 * With a verified copy that pods are pointed at, that copy; and the original name, best effort, when it is asked for:
 * admission fails open, and the same bytes cost one manifest. Without one, the source: at once where no copy will come,
 * and otherwise when waiting for the copy took too long or the copy failed; and as long as pods are pointed at the copy
 * only when the source is lost. A source that cannot be reached, or that has
 * not got the image, is given to the nodes all the same: kubelets may know a way that kip does not. But not where that way
 * may be kip's own pull secrets, which open to whoever names an image what was never theirs.
 */
export function decideCache(
  subject: Subject,
  settings: DecisionSettings,
  { now, kubeletsCheck }: CacheCircumstances,
): CacheVerdict {
  const { image, text } = subject
  if (image === undefined) return none('UnknownImage')
  if (isUnwanted(image)) return none('NotWanted')
  // A node's cache is open to every pod there, and whoever merely uses a private image asked for no such thing.
  if (image.source?.state === 'NeedsCredentials' && !isAskedFor(image)) {
    return none('NeedsCredentials')
  }
  const mayLeak = mayOpen(settings, subject) && !kubeletsCheck
  if (mayLeak && !isKnownPublic(subject) && !isAskedFor(image)) {
    return waitForSource(subject, settings, now) ?? none('MaybePrivate')
  }
  const source = { reference: text, bestEffort: false }
  const policies = policiesOf(settings.admission, text)
  const isLost = isSourceLost(subject)
  if (!policies.has('available') && !(policies.has('failover') && isLost)) {
    return waitForSource(subject, settings, now) ?? some('CacheSource', [source])
  }
  const copy = verifiedCopy(subject)
  if (typeof copy === 'string') {
    // The new image of a moved tag will not come to the backup: pods get it from the source.
    if (isOutdated(subject) && hasFailed(subject)) {
      return some('CacheSource', [source, { reference: copy, bestEffort: true }])
    }
    // Some namespaces' pods ask for the copy, and others' for the source.
    const isMixed = policies.has('never') || (policies.has('failover') && !isLost)
    return some('CacheBackup', [
      { reference: copy, bestEffort: false },
      ...(isMixed || settings.puller.cacheOriginals
        ? [{ reference: text, bestEffort: !isMixed || isLost }]
        : []),
    ])
  }
  return (
    waitForSource(subject, settings, now) ??
    waitForCopy(subject, settings, now) ??
    some('CacheSource', [source])
  )
}

/** Whether the secrets that nodes pull with may get what others may not: those of the copies, at their host alone. */
function mayOpen({ puller, mirror }: DecisionSettings, { besideCopies }: Subject): boolean {
  return puller.imagePullSecrets.length > 0 || (mirror.pullSecret !== '' && besideCopies)
}

/** A user named the image, in IMAGES or by an object made by hand. */
function isAskedFor(image: ImageState): boolean {
  return image.requested || image.usage?.wanted.some((reason) => reason !== 'InUse') === true
}

/** Kip got the image, or a copy of it, without credentials, be it that the source is away since. */
function isKnownPublic(subject: Subject): boolean {
  return subject.image?.source?.digest !== undefined || typeof verifiedCopy(subject) === 'string'
}

/** Until the source was looked up it is not known whether it asks for credentials. */
function waitForSource(
  { image }: Subject,
  settings: DecisionSettings,
  now: number,
): CacheVerdict | undefined {
  if (image === undefined || image.source !== undefined || isAskedFor(image)) return undefined
  return waiting('NotResolved', image, settings, now)
}

function waitForCopy(
  subject: Subject,
  settings: DecisionSettings,
  now: number,
): CacheVerdict | undefined {
  const { image } = subject
  if (image === undefined || hasFailed(subject)) return undefined
  const { act, code } = decideMirror(subject)
  if (!act && code !== 'NotResolved') return undefined
  return waiting('WaitingForCopy', image, settings, now)
}

function waiting(
  code: 'NotResolved' | 'WaitingForCopy',
  image: ImageState,
  settings: DecisionSettings,
  now: number,
): CacheVerdict | undefined {
  const since = Date.parse(image.usage?.firstSeen ?? image.createdAt ?? '')
  const until = since + settings.mirror.preCacheWaitSeconds * 1000
  return until > now ? { ...none(code), recheckAt: until } : undefined
}

function hasFailed({ mirror }: Subject): boolean {
  return mirror?.state === 'Failed' || mirror?.state === 'Blocked'
}

function none(
  code:
    | 'UnknownImage'
    | 'NotWanted'
    | 'NeedsCredentials'
    | 'MaybePrivate'
    | 'NotResolved'
    | 'WaitingForCopy',
): CacheVerdict {
  return { ...verdict(false, code), references: [] }
}

function some(
  code: 'CacheBackup' | 'CacheSource',
  references: readonly CacheReference[],
): CacheVerdict {
  return { ...verdict(true, code), references }
}
