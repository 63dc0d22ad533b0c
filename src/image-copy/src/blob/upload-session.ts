import { Stop } from '../abortable.ts'
import { RegistryError } from '../errors.ts'
import { sameOrigin } from '../http/origin.ts'
import type { Context } from '../registry/context.ts'
import { resolveLocation } from '../registry/location.ts'
import type { Repository } from '../registry/repository.ts'
import type { RegistryAnswer } from '../registry/requests.ts'

/** An upload that the registry has opened. */
export interface UploadSession {
  /** Where its next request goes. */
  readonly url: string | URL
  /** Bytes that the registry holds. */
  readonly offset: number
  /** Smallest chunk that the registry takes (OCI-Chunk-Min-Length), 0 if it did not say. */
  readonly minChunk: number
}

/**
 * How long a failed upload's cancelling may hold up its failure, in milliseconds: enough for a registry that answers at all. What
 * stays open, registries remove by themselves, distribution after a week.
 */
const cancelMs = 3000
/** A registry may still be writing what came before the break, and then is further at each request than it said before. */
const cancelTries = 5

/**
 * Starts an upload; with `mount`, asks at the same time whether the registry can take the blob from `from`.
 *
 * @returns undefined when the blob is in the repository now
 */
export async function startUpload(
  target: Repository,
  context: Context,
  mount?: { readonly digest: string; readonly from: string },
): Promise<UploadSession | undefined> {
  const { endpoint, path, scopes } =
    mount === undefined ? target.write : target.writeFrom(mount.from)
  const query =
    mount === undefined ? '' : `?mount=${mount.digest}&from=${encodeURIComponent(mount.from)}`
  const answer = await endpoint.fetch(
    {
      method: 'POST',
      url: `/v2/${path}/blobs/uploads/${query}`,
      repository: path,
      scopes,
      expect: mount === undefined ? [202] : [201, 202],
    },
    context,
  )
  return answer.status === 201 ? undefined : sessionOf(answer, 0)
}

/** The session as an answer to one of its requests tells. */
export function sessionOf(
  answer: Pick<RegistryAnswer, 'headers' | 'resource'>,
  offset: number,
): UploadSession {
  const { resource } = answer
  const { place: url } = resolveLocation(resource, answer.headers.get('location'))
  // It would be shown the credential there, at a place of the other server's choice.
  if (!resource.own && typeof url !== 'string' && sameOrigin(resource.base, url)) {
    throw new RegistryError(
      'COPY_REDIRECT_REFUSED',
      `${resource.host}: sends an upload back to ${resource.base.host}, which had sent it there`,
      resource.party,
    )
  }
  const min = /^\d{1,12}$/.exec(answer.headers.get('oci-chunk-min-length') ?? '')
  return { url, offset, minChunk: min === null ? 0 : Number(min[0]) }
}

/** Asks how far an upload came; undefined: it cannot be resumed. */
export async function uploadStatus(
  target: Repository,
  session: UploadSession,
  context: Context,
): Promise<UploadSession | undefined> {
  const { endpoint, path, scopes } = target.write
  try {
    const answer = await endpoint.fetch(
      { method: 'GET', url: session.url, repository: path, scopes, expect: [204, 202] },
      context,
    )
    const end = /^(?:bytes=)?0-(\d{1,16})$/.exec(answer.headers.get('range') ?? '')?.[1]
    // "0-0" stands for no byte at some registries and for one at others.
    if (end === undefined || Number(end) === 0) return undefined
    if (!answer.headers.has('location')) return { ...session, offset: Number(end) + 1 }
    return { ...sessionOf(answer, Number(end) + 1), minChunk: session.minChunk }
  } catch (error) {
    if (context.signal.aborted || !(error instanceof RegistryError)) throw error
    return undefined
  }
}

/** Frees what an upload that will not be finished holds in the registry. Its own failure is nobody's concern. */
export async function cancelUpload(
  target: Repository,
  session: UploadSession,
  context: Context,
): Promise<void> {
  const limit = new Stop()
  const timer = setTimeout(() => limit.abort(new Error('too late')), cancelMs)
  const inner = { ...context, signal: limit }
  try {
    let open: UploadSession | undefined = session
    for (let tries = 1; open !== undefined && tries <= cancelTries; tries += 1) {
      if (await isCancelled(target, open, inner)) return
      open = await uploadStatus(target, open, inner)
    }
  } catch {
    // The registry drops uploads by itself in time; the failure that led here is the one to report.
  } finally {
    clearTimeout(timer)
  }
}

/** @returns false where the upload has come further than its URL says: distribution 3 wants to be asked how far */
async function isCancelled(
  target: Repository,
  session: UploadSession,
  context: Context,
): Promise<boolean> {
  const { endpoint, path, scopes } = target.write
  const request = {
    method: 'DELETE' as const,
    url: session.url,
    repository: path,
    scopes,
    expect: [204, 202, 200, 404, 416],
  }
  return (await endpoint.openOnce(request, context)).status !== 416
}
