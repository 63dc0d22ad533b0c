import { Stop } from '../abortable.ts'
import { now } from '../clock.ts'
import { algorithmOf } from '../digest.ts'
import { partyOf, printable, RegistryError } from '../errors.ts'
import { ConnectionLostError } from '../http/protocol-error.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Endpoint } from '../registry/endpoint.ts'
import { describeUrl, failureOfAnswer, failureOfExchange } from '../registry/failure.ts'
import type { Place, Repository } from '../registry/repository.ts'
import type { RegistryAnswer, UploadRequest } from '../registry/requests.ts'
import { BlobPump } from './blob-pump.ts'
import { download } from './download.ts'
import type { RunningHash } from './running-hash.ts'
import { sessionOf, type UploadSession } from './upload-session.ts'

/** Largest body of one PATCH; undefined: one PUT with all bytes in it. */
export type Way = { readonly chunk: number } | undefined

/** Answers to an upload that say "not this way". */
const notThisWay = new Set([404, 405, 411, 413, 415, 416, 501])
const octetStream = { 'Content-Type': 'application/octet-stream' }
/**
 * A connection that was open for so long, in milliseconds, and was closed before anything was sent on it, was closed because it
 * stood idle: the source let it wait. Servers close such connections after five seconds and more.
 */
const tiredMs = 1000
/** One for all: an error made for each transfer, with its stack, takes longer than its requests. */
const ended = new Error('the transfer ended')

/** What one go needs. */
export interface AttemptParts {
  readonly target: Repository
  readonly blob: Descriptor
  readonly context: Context
  readonly hash: RunningHash
  /** Where the blob is read, best first; those that turn out not to have it are taken out. */
  readonly places: Place[]
  readonly way: Way
}

/** One go at a transfer: one download (which mends itself) into one upload session. */
export class Attempt {
  readonly #parts: AttemptParts
  readonly #endpoint: Endpoint
  /** The upload as far as it came. */
  session: UploadSession | undefined
  started = false
  /** The upload had some of the blob before. */
  resumed = false
  /** The upload's connection broke, not the download. */
  lostUpload = false
  /** The download failed, after its own tries. */
  lostSource = false
  /** Bytes that the target holds, or that went out to it. */
  sent = 0
  #sourceFailure: unknown
  #refusedBy: RegistryError | undefined

  constructor(parts: AttemptParts) {
    this.#parts = parts
    this.#endpoint = parts.target.write.endpoint
  }

  /** The target said that it takes no upload of this kind. */
  uploadRefused(error: RegistryError): boolean {
    return error === this.#refusedBy
  }

  async run(start: Promise<UploadSession | undefined> | UploadSession): Promise<boolean> {
    const { blob, context, hash, places } = this.#parts
    const stop = new Stop(context.signal)
    const inner = { ...context, signal: stop }
    // The offset of a promised session is 0: only sessions that were asked for their status have come further.
    const sendFrom = start instanceof Promise ? 0 : start.offset
    this.sent = sendFrom
    this.resumed = sendFrom > 0
    hash.rewind(sendFrom)
    const pump = new BlobPump({
      digest: blob.digest,
      size: blob.size,
      hash,
      sendFrom,
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
    // What the target holds whole was read whole, and is right, or the target will say so.
    const fetched = sendFrom === blob.size ? undefined : download(places, blob, pump, inner)
    // Ends the upload too.
    const fetching = fetched?.catch((error) => {
      this.lostSource = !stop.aborted
      this.#sourceFailure = error
      stop.abort(ended)
    })
    try {
      this.session = await start
      stop.throwIfAborted()
      if (this.session === undefined) return false
      this.started = true
      await this.#upload(this.session, pump, inner)
      return true
    } catch (error) {
      if (context.signal.aborted) throw context.signal.reason
      throw this.lostSource ? this.#sourceFailure : error
    } finally {
      stop.end()
      pump.detach()
      stop.abort(ended)
      await fetching
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
    const { url, offset } = session
    const answer = await this.#send('PUT', url, offset, blob.size - offset, pump, context)
    this.session = undefined
    requireStored(answer, blob)
  }

  async #send(
    method: 'PUT' | 'PATCH',
    url: UploadSession['url'],
    offset: number,
    count: number,
    pump: BlobPump,
    context: Context,
  ): Promise<RegistryAnswer> {
    const { target, way, blob } = this.#parts
    const { path, scopes } = target.write
    const ranged = count > 0 && (offset > 0 || (way !== undefined && count < blob.size))
    const headers = ranged
      ? { ...octetStream, 'Content-Range': `${offset}-${offset + count - 1}` }
      : octetStream
    // 201 to a PATCH is ECR's.
    const expect = method === 'PATCH' ? [201, 202, 204] : [201, 204]
    const query = method === 'PUT' ? `digest=${encodeURIComponent(blob.digest)}` : ''
    const request = { method, url, query, headers, repository: path, scopes, expect }
    const opened = now()
    const upload = await this.#endpoint.startUpload({ ...request, bodyBytes: count }, context)
    const { exchange, resource } = upload
    try {
      if (count > 0) pump.fill(exchange, count)
      const { status, headers, body } = await exchange.answer()
      if (expect.includes(status)) {
        // The connection ended with the answer, and bytes of the blob with it: what comes next would not follow on them.
        if (method === 'PATCH' && !exchange.requestSent) throw answeredEarly(resource, status)
        return { status, headers, body, resource }
      }
      const failure = failureOfAnswer(method, resource, { status, headers, body })
      if (await upload.refused({ status, headers })) throw retryableOf(failure)
      if (notThisWay.has(status)) this.#refusedBy = failure
      throw failure
    } catch (error) {
      const idle = error instanceof ConnectionLostError && now() - opened >= tiredMs
      if (idle && count > 0 && pump.takeBack(count))
        return await this.#send(method, url, offset, count, pump, context)
      if (!(error instanceof RegistryError)) this.lostUpload = true
      const failure = failureOfExchange(error, method, resource, context.signal)
      exchange.abort(failure instanceof Error ? failure : new Error('the upload failed'))
      throw failure
    }
  }
}

/** @throws RegistryError when the registry says that it stored something else */
function requireStored({ headers, resource }: RegistryAnswer, { digest }: Descriptor): void {
  const stored = headers.get('docker-content-digest')
  if (stored === undefined || stored === digest) return
  const sameKind = stored.startsWith(`${algorithmOf(digest)}:`)
  throw new RegistryError(
    sameKind ? 'COPY_DIGEST_MISMATCH' : 'COPY_REFUSED',
    `${resource.host} stored blob ${digest} as ${printable(stored, 100)}: ${sameKind ? 'its bytes were altered on the way there' : 'it does not support this kind of digest'}`,
    { ...resource.party, status: 201 },
  )
}

function answeredEarly({ url, party }: UploadRequest['resource'], status: number): RegistryError {
  return new RegistryError(
    'COPY_PROTOCOL',
    `PATCH ${describeUrl(url)}: ${status} came before the body was sent`,
    { ...party, status, retryable: true },
  )
}

/** A token that ended on the way: the same again, with a new one. */
function retryableOf(error: RegistryError): RegistryError {
  return new RegistryError(error.code, error.message, {
    ...partyOf(error),
    status: error.status,
    retryable: true,
    cause: error,
  })
}
