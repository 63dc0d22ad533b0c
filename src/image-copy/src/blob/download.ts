import { printable, RegistryError } from '../errors.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import { failureOfExchange } from '../registry/failure.ts'
import type { Place, Repository } from '../registry/repository.ts'
import type { OpenAnswer } from '../registry/requests.ts'
import type { Resource } from '../registry/resource.ts'
import type { BlobPump } from './blob-pump.ts'

/** Broken downloads in a row, without a worthwhile stretch of bytes between them, after which the blob is given up. */
const maxBreaks = 6
const worthwhileBytes = 1024 * 1024

/**
 * Feeds a blob into a pump. A download that breaks is opened again by Range where it broke; what was hashed stays hashed.
 *
 * @throws RegistryError as the last try failed
 */
export async function download(
  source: Repository,
  blob: Descriptor,
  pump: BlobPump,
  context: Context,
): Promise<void> {
  const places = [...source.reads]
  for (let breaks = 0; ; ) {
    const place = places[0]
    if (place === undefined) return
    const before = pump.position
    try {
      await feedFrom(place, blob, pump, places.length > 1 ? { ...context, tries: 1 } : context)
      return
    } catch (error) {
      if (context.signal.aborted || !(error instanceof RegistryError)) throw error
      if (error.code === 'COPY_DIGEST_MISMATCH') throw error
      // A mirror gets one try, and is not asked again for this blob.
      if (places.length > 1) {
        places.shift()
        continue
      }
      if (!error.retryable) throw error
      breaks = pump.position - before >= worthwhileBytes ? 1 : breaks + 1
      if (breaks >= maxBreaks) throw error
      await place.endpoint.backOff(breaks, error, `blob ${blob.digest}`, context)
    }
  }
}

async function feedFrom(
  place: Place,
  blob: Descriptor,
  pump: BlobPump,
  context: Context,
): Promise<void> {
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
          pump.sink(exchange, requireHead(head, resource, blob, offset)),
      },
      context,
    )
  // Before the first byte a failure is one of the request, with its back-off; afterwards one of the transfer.
  const answer = offset === 0 ? await endpoint.retrying(context, open) : await open()
  try {
    await answer.exchange.whole()
  } catch (error) {
    if (error instanceof RegistryError) {
      answer.exchange.abort(error)
      throw error
    }
    throw failureOfExchange(error, 'GET', answer.resource, context.signal)
  }
  if (pump.position < blob.size) {
    throw new RegistryError(
      'COPY_DIGEST_MISMATCH',
      `blob ${blob.digest} from ${answer.resource.host} ends after ${pump.position} of ${blob.size} bytes`,
      { host: answer.resource.host },
    )
  }
  endpoint.pulls.succeeded()
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
      host: resource.host,
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
      { host: resource.host },
    )
  }
  return offset - first
}

function rangeStart(value: string | undefined, size: number): number | undefined {
  const range = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(value ?? '')
  if (range === null || Number(range[2]) !== size - 1) return undefined
  return range[3] === '*' || Number(range[3]) === size ? Number(range[1]) : undefined
}
