import { partyOf, RegistryError } from '../errors.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Place, Repository } from '../registry/repository.ts'
import type { Learned } from '../registry/requests.ts'
import { CheckpointedHash } from './checkpointed-hash.ts'
import { NoHash } from './no-hash.ts'
import type { Verifier } from './running-hash.ts'
import { headBlob } from './small-blob.ts'
import { Attempt, type Way } from './upload-attempt.ts'
import { cancelUpload, startUpload, type UploadSession, uploadStatus } from './upload-session.ts'

export interface TransferParts {
  readonly source: Repository
  readonly target: Repository
  readonly blob: Descriptor
  readonly verify: Verifier
  readonly context: Context
  /**
   * The upload to send to, or a promise of it, so that the download opens at the same time. Undefined: the blob turned out
   * to be there, and the download is dropped.
   */
  readonly session: Promise<UploadSession | undefined> | UploadSession
}

/**
 * Ways of uploading, the leanest first: one PUT with the bytes in it; one PATCH and an empty PUT; PATCHes of a bounded size,
 * for registries behind proxies that bound bodies (Cloudflare 100 MB, Azure 20 MB, nginx 1 MiB unless told otherwise). A
 * host's way is learned from its failures and kept.
 */
const ways: readonly Way[] = [
  undefined,
  { chunk: Number.POSITIVE_INFINITY },
  ...[16, 4, 1, 1 / 4, 1 / 16].map((mebibytes) => ({ chunk: mebibytes * 1024 * 1024 })),
]
/** A stretch after which a transfer that breaks counts as moving. */
const worthwhileBytes = 4 * 1024 * 1024
/** So many broken connections are no chance: the next try is in another way. */
const maxLosses = 3
/**
 * Without such a stretch between them: some in the first way, and one in each other, so that each has its try. With some 50 s of
 * delays in between they outlive more than other requests do, since bytes that were sent are worth it.
 */
const maxTries = maxLosses + ways.length - 1
/** Bytes altered on the way may be whole the next time; in the registry's storage they never are. */
const maxMismatches = 3

/**
 * Moves one blob. What breaks is taken up again where it broke: the download by Range, the upload by asking the registry how
 * far it came. An upload that is given up is cancelled.
 *
 * @returns false when the blob was there already
 */
export async function transferBlob(parts: TransferParts): Promise<boolean> {
  const held: Held = { session: undefined, sent: 0 }
  try {
    return await transfer(parts, held)
  } catch (error) {
    await drop(held, parts)
    throw error
  }
}

/** The upload that is open and in nobody's hands: to be gone on with, or cancelled. */
interface Held {
  session: UploadSession | undefined
  /** The most bytes of the blob that it can have. */
  sent: number
}

async function drop(held: Held, { target, context }: TransferParts): Promise<void> {
  const { session } = held
  held.session = undefined
  held.sent = 0
  if (session !== undefined) await cancelUpload(target, session, context)
}

async function transfer(parts: TransferParts, held: Held): Promise<boolean> {
  const { source, target, blob, verify, context } = parts
  const { endpoint } = target.write
  const hash = verify === 'target' ? new NoHash() : new CheckpointedHash(blob.digest, blob.size)
  const places = [...source.reads]
  let session: TransferParts['session'] | undefined = parts.session
  let way = endpoint.learned.uploadStep
  // Each mirror may be wrong once: it is not asked again.
  let mismatchesLeft = maxMismatches + places.length - 1
  let wasExcused = false
  let furthest = 0
  let losses = 0
  for (let tries = 1; ; ) {
    const attempt = new Attempt({ target, blob, context, hash, places, way: ways[way] })
    try {
      session ??= (await startUpload(target, context)) as UploadSession
      const done = await attempt.run(session)
      learn(endpoint.learned, way, blob)
      endpoint.pushes.succeeded()
      return done
    } catch (error) {
      held.session = attempt.session
      held.sent = Math.max(held.sent, attempt.sent)
      if (context.signal.aborted || !(error instanceof RegistryError)) throw error
      const refused = attempt.uploadRefused(error)
      if (!error.retryable && !refused) {
        if (!isMismatch(error)) throw error
        const nobodyLooked = verify === 'target' && !attempt.lostSource
        mismatchesLeft -= 1
        if (mismatchesLeft === 0)
          throw nobodyLooked ? alteredSomewhere(error, parts, places) : error
        // It may have been the mirror.
        if (nobodyLooked && places.length > 1) places.shift()
        // Not every registry that takes chunks puts them together.
        if (inChunks(way, blob) && !attempt.lostSource) {
          way = 0
          endpoint.learned.uploadStep = 0
        }
        await drop(held, parts)
        session = undefined
        continue
      }
      // The download has had its own tries.
      if (attempt.lostSource || !attempt.started) throw error
      endpoint.noteTrouble(error)
      // No word about its kind, unless it comes twice in a row.
      const excused: boolean = refused && !wasExcused && isAboutUpload(error, attempt)
      wasExcused = excused
      if (refused && !excused) {
        if (way + 1 >= ways.length) throw error
        way = nextWay(way, error, blob)
      }
      if (attempt.lostUpload) {
        losses += 1
        if (losses >= maxLosses && way + 1 < ways.length) way += 1
      }
      const isWorthwhile = attempt.sent > furthest + worthwhileBytes
      if (isWorthwhile) losses = 0
      tries = isWorthwhile ? 1 : tries + 1
      furthest = Math.max(furthest, attempt.sent)
      if (tries > maxTries) throw error
      if (refused && !excused) await drop(held, parts)
      await endpoint.backOff(tries, error, `blob ${blob.digest}`, context)
      // The upload may have been finished, and only the answer lost.
      if (attempt.sent === blob.size && (await headBlob(target, blob, context))) return true
      session = await resume(target, held, context)
      if (session === undefined) await drop(held, parts)
      else endpoint.counts.resumedUploads += 1
    }
  }
}

function inChunks(way: number, blob: Descriptor): boolean {
  return (ways[way]?.chunk ?? blob.size) < blob.size
}

/** Keeps the way that worked; what went in one piece says nothing about pieces. */
function learn(learned: Learned, way: number, blob: Descriptor): void {
  const isOnePiece = ways[way] === undefined || ways[way].chunk === Number.POSITIVE_INFINITY
  if (isOnePiece || inChunks(way, blob)) learned.uploadStep = Math.max(learned.uploadStep, way)
}

/** The way to try after `way` was refused; a body that was too large is not sent again in one piece. */
function nextWay(way: number, error: RegistryError, blob: Descriptor): number {
  const next = ways.findIndex(
    (it, i) => i > way && (error.status !== 413 || (it?.chunk ?? blob.size) < blob.size),
  )
  return next < 0 ? ways.length - 1 : next
}

/** The session to go on with; undefined: start anew. A registry that has more than was sent counts wrongly (Gitea: one too many). */
async function resume(
  target: Repository,
  { session, sent }: Held,
  context: Context,
): Promise<UploadSession | undefined> {
  const status = session === undefined ? undefined : await uploadStatus(target, session, context)
  return status === undefined || status.offset > sent ? undefined : status
}

/** A registry that was restarted knows the upload no more, or it had more of what broke than it said when it was asked. */
function isAboutUpload(error: RegistryError, { resumed }: Attempt): boolean {
  if (error.status === 416) return resumed
  return error.status === 404 && /BLOB_UPLOAD_UNKNOWN/.test(error.message)
}

/** The bytes were altered: before they came here, which we see if we look, or on the way to the target, which that sees. */
function isMismatch(error: RegistryError): boolean {
  return (
    error.code === 'COPY_DIGEST_MISMATCH' ||
    (error.status === 400 && /DIGEST_INVALID/.test(error.message))
  )
}

/** The target refused the bytes, and nobody looked at them before it. */
function alteredSomewhere(
  error: RegistryError,
  { source, target, blob }: TransferParts,
  [from]: readonly Place[],
): RegistryError {
  const host = from?.endpoint.host ?? source.registry
  return new RegistryError(
    'COPY_DIGEST_MISMATCH',
    `blob ${blob.digest} came to ${target.registry} with other bytes than it names: they were altered in the storage of ${host} or on the way from there; a copy that verifies in the stream tells where (${error.message})`,
    { ...partyOf(error), status: error.status, cause: error },
  )
}
