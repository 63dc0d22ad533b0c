import { type ImageReference, RegistryError } from '@containers/image-copy'
import type { Mirror } from '../state/cached-image.ts'
import { retryDelay } from './plan.ts'

/** Codes of a source that wants credentials; kip copies only what anybody may read. */
const NEEDS_CREDENTIALS = new Set(['COPY_UNAUTHORIZED', 'COPY_DENIED'])
/** Code of an error that has none of its own. */
const UNKNOWN_CODE = 'CopyFailed'
/** Fit for an entry's code and a condition's reason. */
const codePattern = /^[A-Z][A-Z0-9_]{0,63}$/

/** How an entry stands after a try that failed. */
export type FailedMirror = Mirror & { readonly state: 'Failed' | 'Blocked' }

/** Where a copy comes from and where it goes. */
interface Sides {
  readonly source: ImageReference
  readonly target: ImageReference
}

/**
 * The entry that a failed try leaves, whatever made it fail: each is tried again. An error's own text is for the log, since it
 * may hold anything.
 *
 * @param input.entry what stood before the try, without its claim
 * @param input.random in [0, 1)
 * @param input.now milliseconds since the epoch
 */
export function failedMirror(
  input: Sides & {
    readonly entry: Omit<Mirror, 'state'>
    readonly error: unknown
    readonly random: number
    readonly now: number
  },
): FailedMirror {
  const { entry, error, random, now } = input
  const attempts = (entry.attempts ?? 0) + 1
  const asked = error instanceof RegistryError ? error.retryAfterMs : undefined
  const retryAt = new Date(now + retryDelay(attempts, random, asked)).toISOString()
  const tried = { ...entry, attempts, retryAt }
  if (!(error instanceof RegistryError)) {
    const code = codeOf(error)
    const message = `kip could not try it: ${code}; its log says more (component mirror)`
    return { ...tried, state: 'Failed', code, message }
  }
  const { code, registry } = error
  const side = sideOf(error, input)
  if (side === 'source' && NEEDS_CREDENTIALS.has(code)) {
    const message = `${registry} asks for credentials; only images that anybody may read are copied`
    return { ...tried, state: 'Blocked', code: 'NeedsCredentials', message }
  }
  // The registry by the name that it was asked by: a host may be an answer's word.
  const message = `${side === undefined ? '' : `${side} `}${registry}: ${code}`
  return { ...tried, state: 'Failed', code, message }
}

/**
 * Which side failed; undefined: both are in one registry, and it was asked for neither's repository alone. That holds for its
 * token server, which is shown the backup's credentials.
 */
function sideOf(error: RegistryError, { source, target }: Sides): 'source' | 'backup' | undefined {
  if (error.registry !== target.registry) return 'source'
  if (source.registry !== target.registry || error.repository === target.repository) return 'backup'
  return error.repository === source.repository ? 'source' : undefined
}

/** An error's own code, as those of the operating system and of kip have one. */
function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && codePattern.test(code) ? code : UNKNOWN_CODE
}
