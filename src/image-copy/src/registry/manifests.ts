import { algorithmOf, digestOf, isDigest, requireDigest } from '../digest.ts'
import { RegistryError } from '../errors.ts'
import { maxManifestBytes } from '../image/manifest.ts'
import { acceptManifests } from '../image/media-types.ts'
import type { Context } from './context.ts'
import type { Place, Repository } from './repository.ts'
import type { RegistryAnswer } from './requests.ts'

/** What a HEAD tells of a manifest. */
export interface ManifestHead {
  /** As the registry says; undefined when it does not. */
  readonly digest: string | undefined
  readonly mediaType: string
  readonly size: number | undefined
}

/** A manifest's bytes with the digest they were verified against. */
export interface ManifestBytes {
  readonly bytes: Buffer
  readonly digest: string
  /** Content-Type of the answer. */
  readonly mediaType: string
}

/** Tries of a manifest whose bytes arrive altered: altered on the way, they may be whole the next time. */
const maxAltered = 3

/** Asks each place of a repository in turn; a mirror that fails in any way is passed over. */
export function readFirst<T>(
  repository: Repository,
  context: Context,
  read: (place: Place, context: Context) => Promise<T | undefined>,
): Promise<T | undefined> {
  return readNext(repository.reads, context, read)
}

function readNext<T>(
  [place, ...rest]: readonly Place[],
  context: Context,
  read: (place: Place, context: Context) => Promise<T | undefined>,
): Promise<T | undefined> {
  if (place === undefined) return Promise.resolve(undefined)
  if (rest.length === 0) return read(place, context)
  const next = (): Promise<T | undefined> => readNext(rest, context, read)
  return read(place, { ...context, tries: 1 }).then(
    (found) => found ?? next(),
    (error: unknown) => {
      if (context.signal.aborted || !(error instanceof RegistryError)) throw error
      return next()
    },
  )
}

/** Whether and as what a tag or digest is there; undefined when it is not. */
export function headManifest(
  repository: Repository,
  reference: string,
  context: Context,
): Promise<ManifestHead | undefined> {
  return readFirst(repository, context, (place, inner) => headManifestAt(place, reference, inner))
}

/** The same at one place. */
async function headManifestAt(
  place: Place,
  reference: string,
  context: Context,
): Promise<ManifestHead | undefined> {
  return headOf(
    await place.endpoint.fetch(manifestRequest('HEAD', place, reference, [200, 404]), context),
  )
}

/**
 * What a tag is, where it is mostly what it was: then a registry need only say so, which takes it half the work. Not for
 * finding out whether an image is there: of an unchanged tag, registries do not look whether its manifest still is.
 */
export function headTag(
  repository: Repository,
  tag: string,
  context: Context,
): Promise<ManifestHead | undefined> {
  return readFirst(repository, context, (place, inner) => headTagAt(place, tag, inner))
}

async function headTagAt(
  place: Place,
  tag: string,
  context: Context,
): Promise<ManifestHead | undefined> {
  const { seenTags } = place.endpoint
  const name = `${place.path}:${tag}`
  const seen = seenTags.get(name)
  const request = manifestRequest('HEAD', place, tag, seen ? [200, 304, 404] : [200, 404])
  const headers = seen && { ...request.headers, 'If-None-Match': `"${seen.digest}"` }
  const answer = await place.endpoint.fetch(headers ? { ...request, headers } : request, context)
  if (answer.status === 304) return seen
  const head = headOf(answer)
  // An entity tag that is not the digest could stay while the digest changes.
  const tellable = head?.digest !== undefined && answer.headers.get('etag') === `"${head.digest}"`
  seenTags.set(name, tellable ? head : undefined)
  return head
}

function headOf(answer: RegistryAnswer): ManifestHead | undefined {
  if (answer.status === 404) return undefined
  const length = answer.headers.get('content-length')
  return {
    digest: announcedDigest(answer),
    mediaType: answer.headers.get('content-type') ?? '',
    size: length === undefined ? undefined : Number(length),
  }
}

/** A manifest as it came, of which only the registry's word is known. */
export interface OfferedManifest {
  /** As announced; undefined when it is not. */
  readonly digest: string | undefined
  /** Its bytes, verified as by {@link getManifest}, and asked for again when they were altered. */
  readonly verified: () => Promise<ManifestBytes>
}

/** Asks for a manifest by tag whose bytes may turn out not to be wanted, and are verified when they are. */
export async function offerManifest(
  repository: Repository,
  tag: string,
  context: Context,
): Promise<OfferedManifest> {
  const answer = whole(
    await readFirst(repository, context, (place, inner) =>
      place.endpoint.fetch(manifestReading(place, tag), inner),
    ),
  )
  return {
    digest: announcedDigest(answer),
    verified: async () => {
      try {
        return verified(answer, tag)
      } catch (error) {
        if (!isAltered(error)) throw error
        return getManifest(repository, tag, context)
      }
    },
  }
}

/**
 * Reads a manifest. Asked for by digest, its bytes must have that digest, whatever the registry's headers say; by tag, they
 * must have the one that the registry announces, if it announces one.
 *
 * @throws RegistryError `COPY_NOT_FOUND`, `COPY_DIGEST_MISMATCH`, `COPY_TOO_LARGE`
 */
export async function getManifest(
  repository: Repository,
  reference: string,
  context: Context,
): Promise<ManifestBytes> {
  return whole(
    await readFirst(repository, context, (place, inner) => getManifestAt(place, reference, inner)),
  )
}

/** The same at one place. */
export async function getManifestAt(
  place: Place,
  reference: string,
  context: Context,
): Promise<ManifestBytes> {
  const request = manifestReading(place, reference)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return verified(await place.endpoint.fetch(request, context), reference)
    } catch (error) {
      if (!isAltered(error) || attempt >= maxAltered) throw error
    }
  }
}

/**
 * Writes a manifest under a tag or digest.
 *
 * @returns whether the registry says that it keeps the list of referrers for its subject
 * @throws RegistryError; `COPY_DIGEST_MISMATCH` when the registry stored it under another digest
 */
export async function putManifest(
  repository: Repository,
  reference: string,
  { bytes, digest, mediaType }: ManifestBytes,
  context: Context,
): Promise<{ readonly keepsReferrers: boolean }> {
  const place = repository.write
  for (let attempt = 1; ; attempt += 1) {
    const request = {
      ...manifestRequest('PUT', place, reference, [200, 201, 202]),
      headers: { 'Content-Type': mediaType },
      body: bytes,
    }
    const answer = await place.endpoint.fetch(request, context)
    const stored = announcedDigest(answer)
    const other =
      stored !== undefined && algorithmOf(stored) === algorithmOf(digest) && stored !== digest
    if (!other) return { keepsReferrers: answer.headers.has('oci-subject') }
    // A tag may stand for the altered bytes now, so they are not left there without another try.
    if (attempt >= maxAltered) {
      throw new RegistryError(
        'COPY_DIGEST_MISMATCH',
        `${place.endpoint.host} stored manifest ${digest} of ${repository.name} as ${stored}: it alters what it is given`,
        { ...answer.resource.party, status: answer.status },
      )
    }
  }
}

function manifestRequest<M extends 'GET' | 'HEAD' | 'PUT'>(
  method: M,
  place: Place,
  reference: string,
  expect: readonly number[],
) {
  return {
    method,
    url: `/v2/${place.path}/manifests/${reference}`,
    headers: { Accept: acceptManifests },
    repository: place.path,
    scopes: place.scopes,
    expect,
  }
}

function manifestReading(place: Place, reference: string) {
  return {
    ...manifestRequest('GET', place, reference, [200]),
    maxBytes: maxManifestBytes,
  }
}

/** The last place of a repository answers or throws. */
function whole<T>(found: T | undefined): T {
  if (found !== undefined) return found
  throw new Error('no place answered')
}

function announcedDigest({ headers }: RegistryAnswer): string | undefined {
  const digest = headers.get('docker-content-digest')
  return isDigest(digest) ? digest : undefined
}

function isAltered(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'COPY_DIGEST_MISMATCH'
}

function verified(answer: RegistryAnswer, reference: string): ManifestBytes {
  const mediaType = answer.headers.get('content-type') ?? ''
  const digest = isDigest(reference)
    ? reference
    : (announcedDigest(answer) ?? digestOf(answer.body))
  requireDigest(answer.body, digest, `manifest ${reference}`, answer.resource.party)
  return { bytes: answer.body, digest, mediaType }
}
