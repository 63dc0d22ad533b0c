import { RegistryError } from '../errors.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Repository } from '../registry/repository.ts'
import { CheckpointedHash } from './checkpointed-hash.ts'
import { headBlob } from './small-blob.ts'
import { Attempt, type Way } from './upload-attempt.ts'
import { cancelUpload, startUpload, type UploadSession, uploadStatus } from './upload-session.ts'

export interface TransferParts {
  readonly source: Repository
  readonly target: Repository
  readonly blob: Descriptor
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
const maxTries = 8
/** Bytes altered on the way may be whole the next time; in the registry's storage they never are. */
const maxMismatches = 3

/**
 * Moves one blob. What breaks is taken up again where it broke: the download by Range, the upload by asking the registry how
 * far it came. An upload that is given up is cancelled.
 *
 * @returns false when the blob was there already
 */
export async function transferBlob({
  source,
  target,
  blob,
  context,
  session: start,
}: TransferParts): Promise<boolean> {
  const { endpoint } = target.write
  const hash = new CheckpointedHash(blob.digest, blob.size)
  let session: Promise<UploadSession | undefined> | UploadSession | undefined = start
  let way = endpoint.learned.uploadStep
  let mismatches = 0
  let furthest = 0
  for (let tries = 1; ; ) {
    const attempt = new Attempt({ source, target, blob, context, hash, way: ways[way] })
    try {
      session ??= (await startUpload(target, context)) as UploadSession
      const done = await attempt.run(session)
      endpoint.learned.uploadStep = Math.max(endpoint.learned.uploadStep, way)
      endpoint.pushes.succeeded()
      return done
    } catch (error) {
      const open = attempt.session
      if (
        context.signal.aborted ||
        !(error instanceof RegistryError) ||
        (!error.retryable && !attempt.uploadRefused(error))
      ) {
        const mismatch =
          error instanceof RegistryError && isMismatch(error) && !context.signal.aborted
        if (open !== undefined) await cancelUpload(target, open, context)
        mismatches += 1
        if (!mismatch || mismatches >= maxMismatches) throw error
        session = undefined
        continue
      }
      if (attempt.lostSource) {
        // The download has had its own tries.
        if (open !== undefined) await cancelUpload(target, open, context)
        throw error
      }
      if (!attempt.started) throw error
      endpoint.noteTrouble(error)
      if (attempt.uploadRefused(error)) {
        if (way + 1 >= ways.length) throw error
        way = nextWay(way, error, blob)
      } else if (attempt.lostUpload && tries >= 3 && way + 1 < ways.length) way += 1
      tries = attempt.sent > furthest + worthwhileBytes ? 1 : tries + 1
      furthest = Math.max(furthest, attempt.sent)
      if (tries > maxTries) {
        if (open !== undefined) await cancelUpload(target, open, context)
        throw error
      }
      // The upload may have been finished, and only the answer lost.
      if (attempt.sent === blob.size && (await headBlob(target, blob, context))) return true
      session = await resume(target, open, attempt.uploadRefused(error), context)
      await endpoint.backOff(tries, error, `blob ${blob.digest}`, context)
    }
  }
}

/** The way to try after `way` was refused; a body that was too large is not sent again in one piece. */
function nextWay(way: number, error: RegistryError, blob: Descriptor): number {
  const next = ways.findIndex(
    (it, i) => i > way && (error.status !== 413 || (it?.chunk ?? blob.size) < blob.size),
  )
  return next < 0 ? ways.length - 1 : next
}

/** The session to go on with; undefined: start anew. */
async function resume(
  target: Repository,
  open: UploadSession | undefined,
  refused: boolean,
  context: Context,
): Promise<UploadSession | undefined> {
  if (open === undefined) return undefined
  const status = refused ? undefined : await uploadStatus(target, open, context)
  if (status === undefined) await cancelUpload(target, open, context)
  return status
}

/** The bytes were altered: between source and here, which we see, or between here and target, which the target sees. */
function isMismatch(error: RegistryError): boolean {
  return (
    error.code === 'COPY_DIGEST_MISMATCH' ||
    (error.status === 400 && /DIGEST_INVALID/.test(error.message))
  )
}
