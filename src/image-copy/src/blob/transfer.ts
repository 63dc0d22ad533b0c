import { algorithmOf, digestOf } from '../digest.ts'
import { RegistryError } from '../errors.ts'
import { collect } from '../http/transport.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Endpoint } from '../registry/endpoint.ts'
import { failureOfAnswer, failureOfExchange } from '../registry/failure.ts'
import { type Repository, writePlace } from '../registry/repository.ts'
import { BlobPump } from './blob-pump.ts'
import { CheckpointedHash } from './checkpointed-hash.ts'
import { download } from './download.ts'
import { headBlob } from './small-blob.ts'
import {
  cancelUpload,
  sessionOf,
  startUpload,
  type UploadSession,
  uploadStatus,
} from './upload-session.ts'

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

/** Largest body of one PATCH; undefined: one PUT with all bytes in it. */
type Way = { readonly chunk: number } | undefined

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
/** Answers to an upload that say "not this way". */
const notThisWay = new Set([404, 405, 411, 413, 415, 416, 501])
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
  requireEmptyDigest(blob, source)
  const { endpoint } = writePlace(target)
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

/** A blob without bytes is never downloaded, so its digest is checked here. */
function requireEmptyDigest(blob: Descriptor, source: Repository): void {
  if (blob.size > 0 || digestOf(new Uint8Array(0), algorithmOf(blob.digest)) === blob.digest) return
  throw new RegistryError(
    'COPY_DIGEST_MISMATCH',
    `blob ${blob.digest} is said to be empty, and its digest says otherwise`,
    {
      host: source.registry,
    },
  )
}

interface AttemptParts extends Omit<TransferParts, 'session'> {
  readonly hash: CheckpointedHash
  readonly way: Way
}

/** One go at a transfer: one download (which mends itself) into one upload session. */
class Attempt {
  readonly #parts: AttemptParts
  readonly #stop = new AbortController()
  readonly #endpoint: Endpoint
  /** The upload as far as it came. */
  session: UploadSession | undefined
  started = false
  /** The upload's connection broke, not the download. */
  lostUpload = false
  /** The download failed, after its own tries. */
  lostSource = false
  sent = 0
  #refusedBy: RegistryError | undefined

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.#endpoint = writePlace(parts.target).endpoint
  }

  /** The target said that it takes no upload of this kind. */
  uploadRefused(error: RegistryError): boolean {
    return error === this.#refusedBy
  }

  async run(start: Promise<UploadSession | undefined> | UploadSession): Promise<boolean> {
    const { blob, context, hash, source } = this.#parts
    const give = (): void => this.#stop.abort(context.signal.reason)
    context.signal.addEventListener('abort', give)
    const inner = { ...context, signal: this.#stop.signal }
    // The offset of a promised session is 0: only sessions that were asked for their status have come further.
    const sendFrom = start instanceof Promise ? 0 : start.offset
    hash.rewind(sendFrom)
    const pump = new BlobPump({
      digest: blob.digest,
      size: blob.size,
      hash,
      sendFrom,
      sourceHost: source.registry,
      onSent: (sent) => {
        this.sent = sent
        context.emit({
          type: 'blob-progress',
          image: context.image,
          digest: blob.digest,
          sent,
          bytes: blob.size,
        })
      },
    })
    const fetched = blob.size === 0 ? Promise.resolve() : download(source, blob, pump, inner)
    const failed = fetched.then(
      () => new Promise<never>(() => {}),
      (error) => {
        this.lostSource = !this.#stop.signal.aborted
        throw error
      },
    )
    failed.catch(() => {})
    try {
      const session = await Promise.race([start, failed])
      if (session === undefined) return false
      this.session = session
      this.started = true
      await Promise.race([this.#upload(session, pump, inner), failed])
      return true
    } catch (error) {
      this.session ??= await Promise.resolve(start).catch(() => undefined)
      throw context.signal.aborted ? context.signal.reason : error
    } finally {
      context.signal.removeEventListener('abort', give)
      pump.detach()
      this.#stop.abort(new Error('the transfer ended'))
      await fetched.catch(() => {})
    }
  }

  async #upload(start: UploadSession, pump: BlobPump, context: Context): Promise<void> {
    const { blob, way } = this.#parts
    let session = start
    if (way !== undefined) {
      const piece = Math.max(way.chunk, session.minChunk)
      while (session.offset < blob.size) {
        const count = Math.min(piece, blob.size - session.offset)
        const answer = await this.#send('PATCH', session.url, session.offset, count, pump, context)
        session = { ...sessionOf(answer, session.offset + count), minChunk: session.minChunk }
        this.session = session
      }
    }
    const url = new URL(session.url)
    url.search += `${url.search === '' ? '?' : '&'}digest=${encodeURIComponent(blob.digest)}`
    const answer = await this.#send(
      'PUT',
      url,
      session.offset,
      blob.size - session.offset,
      pump,
      context,
    )
    this.session = undefined
    const stored = answer.headers.get('docker-content-digest')
    if (stored?.startsWith(`${algorithmOf(blob.digest)}:`) === false) {
      throw new RegistryError(
        'COPY_REFUSED',
        `${url.host} stored blob ${blob.digest} as ${stored.slice(0, 100)}: it does not support this kind of digest`,
        {
          host: url.host,
          status: 201,
        },
      )
    }
  }

  async #send(
    method: 'PUT' | 'PATCH',
    url: URL,
    offset: number,
    count: number,
    pump: BlobPump,
    context: Context,
  ) {
    const { target, way, blob } = this.#parts
    const { path, scopes } = writePlace(target)
    const ranged = count > 0 && (offset > 0 || (way !== undefined && count < blob.size))
    const headers = {
      'Content-Type': 'application/octet-stream',
      ...(ranged ? { 'Content-Range': `${offset}-${offset + count - 1}` } : {}),
    }
    const request = { method, url, headers, repository: path, scopes, bodyBytes: count }
    const upload = await this.#endpoint.startUpload(request, context)
    const { exchange } = upload
    try {
      const written = count === 0 ? Promise.resolve() : pump.fill(exchange, count)
      const head = await Promise.race([exchange.head(), written.then(() => exchange.head())])
      const body = await collect(exchange, head, 64 * 1024)
      const good = method === 'PATCH' ? [202, 204] : [201, 204]
      if (good.includes(head.status)) return { ...head, url: upload.url }
      const failure = failureOfAnswer(method, upload.url, head.status, head.headers, body)
      if (await upload.refused(head.status, head.headers)) throw retryableOf(failure)
      if (notThisWay.has(head.status)) this.#refusedBy = failure
      throw failure
    } catch (error) {
      if (!(error instanceof RegistryError)) this.lostUpload = true
      const failure = failureOfExchange(error, method, upload.url, context.signal)
      exchange.abort(failure instanceof Error ? failure : new Error('the upload failed'))
      throw failure
    }
  }
}

/** A token that ended on the way: the same again, with a new one. */
function retryableOf(error: RegistryError): RegistryError {
  return new RegistryError(error.code, error.message, {
    host: error.host,
    status: error.status,
    retryable: true,
    cause: error,
  })
}
