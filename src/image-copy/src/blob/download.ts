import { printable, RegistryError } from '../errors.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import { failureOfExchange } from '../registry/failure.ts'
import type { Place } from '../registry/repository.ts'
import type { OpenAnswer } from '../registry/requests.ts'
import type { Resource } from '../registry/resource.ts'
import type { BlobPump } from './blob-pump.ts'

/** Broken downloads in a row, without a worthwhile stretch of bytes between them, after which the blob is given up. */
const maxBreaks = 6
const worthwhileBytes = 1024 * 1024

/**
 * Feeds a blob into a pump. A download that breaks is opened again by Range where it broke; what was hashed stays hashed.
 *
 * @param places where it is read, best first; a mirror that fails is taken out
 * @throws RegistryError as the last try failed
 */
export async function download(
  places: Place[],
  blob: Descriptor,
  pump: BlobPump,
  context: Context,
): Promise<void> {
  for (let breaks = 0; ; ) {
    const place = places[0]
    if (place === undefined) return
    const before = pump.position
    let answer: OpenAnswer | undefined
    try {
      answer = await openAt(
        place,
        blob,
        pump,
        places.length > 1 ? { ...context, tries: 1 } : context,
      )
      await requireWhole(answer, blob, pump, context)
      place.endpoint.pulls.succeeded()
      return
    } catch (error) {
      if (context.signal.aborted || !(error instanceof RegistryError)) throw error
      const mismatch = error.code === 'COPY_DIGEST_MISMATCH'
      // All of it came and is right, and only the end of the answer was lost.
      if (!mismatch && pump.position === blob.size) return
      // A mirror gets one try, and is not asked again for this blob.
      const mirror = places.length > 1
      if (mirror) places.shift()
      // What was hashed of wrong bytes stays hashed: another place can only begin anew.
      if (mismatch) throw error
      if (mirror) continue
      // A request that brought nothing has had its own tries.
      if (!error.retryable || (answer === undefined && pump.position === 0)) throw error
      breaks = pump.position - before >= worthwhileBytes ? 1 : breaks + 1
      if (breaks >= maxBreaks) throw error
      await place.endpoint.backOff(breaks, error, `blob ${blob.digest}`, context)
      if (pump.position > 0) place.endpoint.counts.resumedDownloads += 1
    }
  }
}

function openAt(
  place: Place,
  blob: Descriptor,
  pump: BlobPump,
  context: Context,
): Promise<OpenAnswer> {
  const { endpoint, path, scopes } = place
  const offset = pump.position
  const open = (): Promise<OpenAnswer> =>
    endpoint.openOnce(
      {
        method: 'GET',
        url: place.blobUrl ?? `/v2/${path}/blobs/${blob.digest}`,
        // With its end, since not every registry reads an open range.
        headers: offset === 0 ? {} : { Range: `bytes=${offset}-${blob.size - 1}` },
        repository: path,
        scopes,
        expect: offset === 0 ? [200] : [200, 206],
        sink: (head, exchange, resource) =>
          pump.sink(exchange, requireHead(head, resource, blob, offset), resource),
      },
      context,
    )
  // Before the first byte a failure is one of the request, with its back-off; afterwards one of the transfer.
  return offset === 0 ? endpoint.retrying(context, open) : open()
}

/** Waits for the end of an answer. @throws RegistryError when it broke, or was not all of the blob */
async function requireWhole(
  { exchange, resource }: OpenAnswer,
  blob: Descriptor,
  pump: BlobPump,
  { signal }: Context,
): Promise<void> {
  try {
    await exchange.whole()
  } catch (error) {
    if (error instanceof RegistryError) {
      exchange.abort(error)
      throw error
    }
    throw failureOfExchange(error, 'GET', resource, signal)
  }
  if (pump.position < blob.size) {
    throw new RegistryError(
      'COPY_DIGEST_MISMATCH',
      `blob ${blob.digest} from ${resource.host} ends after ${pump.position} of ${blob.size} bytes`,
      resource.party,
    )
  }
}

/** @returns bytes of the answer that come before the offset asked for @throws RegistryError */
function requireHead(
  { status, headers }: ResponseHead,
  resource: Resource,
  blob: Descriptor,
  offset: number,
): number {
  const wrong = (why: string): RegistryError =>
    new RegistryError('COPY_PROTOCOL', `blob ${blob.digest} from ${resource.host}: ${why}`, {
      ...resource.party,
      status,
    })
  const coding = headers.get('content-encoding')
  if (coding !== undefined && coding.toLowerCase() !== 'identity') {
    throw wrong(`is sent with Content-Encoding ${printable(coding, 40)}, which was not asked for`)
  }
  const first = status === 206 ? rangeStart(headers.get('content-range'), blob.size) : 0
  if (first === undefined || first > offset)
    throw wrong('the answer has another range than was asked for')
  const length = headers.get('content-length')
  if (length !== undefined && Number(length) !== blob.size - first) {
    throw new RegistryError(
      'COPY_DIGEST_MISMATCH',
      `blob ${blob.digest} from ${resource.host} has ${Number(length) + first} bytes, and its descriptor says ${blob.size}`,
      resource.party,
    )
  }
  return offset - first
}

function rangeStart(value: string | undefined, size: number): number | undefined {
  const range = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(value ?? '')
  if (range === null || Number(range[2]) !== size - 1) return undefined
  return range[3] === '*' || Number(range[3]) === size ? Number(range[1]) : undefined
}
