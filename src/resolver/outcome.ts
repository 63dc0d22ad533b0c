import { RegistryError } from '@containers/image-copy'
import type { Source } from '../state/cached-image.ts'

/** What a look at a source came to, before it is put beside what was known. */
export type Outcome =
  | {
      readonly state: 'Available'
      readonly digest: string
      readonly mediaType: string
      /** Absent: the digest is the known one, and so is what hangs on it. */
      readonly details?: { readonly platforms: readonly string[]; readonly sizeBytes: number }
    }
  | {
      readonly state: Exclude<Source['state'], 'Available'>
      readonly message: string
      /** What anybody may read there, although kip cannot copy it. */
      readonly digest?: string
      /** The registry asked to be left alone for so long. */
      readonly retryAfterMs?: number
    }

/** Digests of a tag that are remembered. */
const historyLength = 10

/** The state that a registry's refusal puts a source in. Words are kip's own: an answer's never get into a status. */
export function outcomeOf(error: unknown, host: string): Outcome {
  if (!(error instanceof RegistryError)) {
    return { state: 'Unreachable', message: `KIP_RESOLVE: ${host} could not be asked` }
  }
  const { code, status, retryAfterMs } = error
  const answered = status === undefined ? '' : ` (HTTP ${status})`
  const say = (state: Exclude<Source['state'], 'Available'>, sentence: string): Outcome => ({
    state,
    message: `${code}: ${sentence}${answered}`,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
  switch (code) {
    case 'COPY_NOT_FOUND':
      return say('Missing', `${host} does not have the image`)
    case 'COPY_UNAUTHORIZED':
    case 'COPY_DENIED':
      return say(
        'NeedsCredentials',
        `${host} asks for credentials, or hides that it has no such image`,
      )
    case 'COPY_DIGEST_MISMATCH':
    case 'COPY_MANIFEST_INVALID':
    case 'COPY_MANIFEST_UNSUPPORTED':
    case 'COPY_TOO_LARGE':
      return say('Invalid', `what ${host} holds is no image that kip can copy`)
    case 'COPY_RATE_LIMITED':
      return say('Unreachable', `${host} asks for fewer requests`)
    case 'COPY_TLS':
      return say('Unreachable', `no trusted TLS connection to ${host}`)
    case 'COPY_ADDRESS_REFUSED':
      return say('Unreachable', `the address of ${host} is one that kip does not dial`)
    default:
      return say('Unreachable', `${host} cannot be reached or does not answer as a registry does`)
  }
}

/**
 * The source stanza after a look. A source that failed keeps what was known of it, since the copy and the nodes may
 * still hold that. One that asked for credentials does so until somebody without any got the image, be it one that kip cannot
 * copy: that it is away since, or answers something else, opens its copy to nobody.
 *
 * @param now milliseconds since the epoch
 */
export function nextSource(before: Source | undefined, outcome: Outcome, now: number): Source {
  const checkedAt = new Date(now).toISOString()
  if (outcome.state !== 'Available') {
    const isClosed = before?.state === 'NeedsCredentials' && outcome.digest === undefined
    const state = isClosed ? 'NeedsCredentials' : outcome.state
    return { ...knownAt(before, outcome.digest), state, message: outcome.message, checkedAt }
  }
  const { state, digest, mediaType, details } = outcome
  const same = before?.digest === digest
  const history = same ? before.history : movedHistory(before)
  const kept = same
    ? {
        ...(before.platforms === undefined ? {} : { platforms: before.platforms }),
        ...(before.sizeBytes === undefined ? {} : { sizeBytes: before.sizeBytes }),
      }
    : {}
  return {
    state,
    digest,
    mediaType,
    ...kept,
    ...details,
    ...(history === undefined ? {} : { history }),
    checkedAt,
  }
}

/** What stays known of a source that failed, or that is something else by now which cannot be copied. */
function knownAt(
  before: Source | undefined,
  digest: string | undefined,
): Omit<Source, 'state' | 'message' | 'checkedAt'> {
  if (digest !== undefined && digest !== before?.digest) {
    const history = movedHistory(before)
    return { digest, ...(history === undefined ? {} : { history }) }
  }
  const { state: _state, message: _message, checkedAt: _checkedAt, ...known } = before ?? unknown
  return known
}

const unknown: Source = Object.freeze({ state: 'Unreachable', checkedAt: '' })

function movedHistory(before: Source | undefined): Source['history'] {
  if (before?.digest === undefined) return before?.history
  const last = { digest: before.digest, seenAt: before.checkedAt }
  return [last, ...(before.history ?? [])].slice(0, historyLength)
}
