import { digestOf, isDigest } from '../digest.ts'
import { RegistryError } from '../errors.ts'
import {
  type Descriptor,
  type Manifest,
  maxManifestBytes,
  readDescriptor,
} from '../image/manifest.ts'
import { ociIndex } from '../image/media-types.ts'
import type { Client } from './client.ts'
import type { Context } from './context.ts'
import { getManifestAt, type ManifestBytes, putManifest } from './manifests.ts'
import { nextPage } from './next-page.ts'
import type { Place, Repository } from './repository.ts'

const maxPages = 100
/** What refers to one manifest: signatures, SBOMs, attestations; hundreds are already unusual. */
const maxReferrers = 5000

/** The tag under which referrers are kept where there is no API. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema */
export function fallbackTag(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return `${algorithm}-${hex.slice(0, 64)}`
}

/** Manifests that name `subject` as their subject, by API or by fallback tag. */
export async function listReferrers(
  repository: Repository,
  subject: string,
  context: Context,
): Promise<readonly Descriptor[]> {
  const place = repository.reads.at(-1)
  if (place === undefined) return []
  const entries =
    place.endpoint.learned.referrers.get(place.path) === 'tag'
      ? undefined
      : await referrersByApi(place, subject, context)
  return (entries ?? (await referrersByTag(place, subject, context)).entries).map((entry, i) =>
    descriptorOf(entry, i, place),
  )
}

export interface AddReferrerParts {
  readonly client: Client
  readonly target: Repository
  readonly subject: string
  readonly manifest: Manifest
  readonly found: ManifestBytes
  readonly context: Context
}

/**
 * Enters a manifest into the fallback tag of its subject, beside what the target has there. Needed where the registry did
 * not say that it keeps the list itself. Of this client, entries that come together are written together.
 */
export async function addReferrer(parts: AddReferrerParts): Promise<void> {
  const { client, target, subject, context } = parts
  const { endpoint, path } = target.write
  const name = `${endpoint.host}/${path}:${fallbackTag(subject)}`
  await client.fallbackTags.add(name, entryOf(parts), context.signal, (entries, signal) =>
    mergeFallback(target, subject, entries, { ...context, signal }),
  )
}

async function mergeFallback(
  target: Repository,
  subject: string,
  added: readonly { readonly digest: string }[],
  context: Context,
): Promise<void> {
  const { root, entries } = await referrersByTag(target.write, subject, context)
  const known = new Set(entries.map((entry) => (entry as { digest?: unknown } | null)?.digest))
  const fresh = [...new Map(added.map((entry) => [entry.digest, entry])).values()].filter(
    ({ digest }) => !known.has(digest),
  )
  if (fresh.length === 0) return
  const index = {
    schemaVersion: 2,
    mediaType: ociIndex,
    ...root,
    manifests: [...entries, ...fresh],
  }
  const bytes = Buffer.from(JSON.stringify(index))
  const manifest = { bytes, digest: digestOf(bytes), mediaType: ociIndex }
  await putManifest(target, fallbackTag(subject), manifest, context)
}

/** What an index says of a referrer. */
function entryOf({ manifest, found }: AddReferrerParts): {
  readonly digest: string
  readonly [field: string]: unknown
} {
  const artifactType =
    manifest.artifactType ?? (manifest.kind === 'image' ? manifest.config?.mediaType : undefined)
  return {
    mediaType: manifest.mediaType,
    digest: found.digest,
    size: found.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  }
}

/** Whether the registry keeps lists of this repository's referrers itself; asked once. */
export async function keepsReferrers(
  repository: Repository,
  subject: string,
  context: Context,
): Promise<boolean> {
  const place = repository.write
  const { referrers } = place.endpoint.learned
  if (referrers.get(place.path) === undefined) await referrersByApi(place, subject, context)
  return referrers.get(place.path) === 'api'
}

/** @returns undefined where there is no API */
async function referrersByApi(
  place: Place,
  subject: string,
  context: Context,
): Promise<unknown[] | undefined> {
  const { endpoint, path, scopes } = place
  const { referrers } = endpoint.learned
  const entries: unknown[] = []
  const visited = new Set<string>()
  let url: string | URL = `/v2/${path}/referrers/${subject}`
  for (let page = 0; page < maxPages && !visited.has(String(url)); page += 1) {
    visited.add(String(url))
    const answer = await endpoint.fetch(
      {
        method: 'GET',
        url,
        headers: { Accept: ociIndex },
        repository: path,
        scopes,
        expect: [200, 400, 404, 405, 501],
        maxBytes: maxManifestBytes,
      },
      context,
    )
    // A server that knows nothing of this path may answer it with anything; only an index counts.
    if (answer.status !== 200 || !/json/.test(answer.headers.get('content-type') ?? '')) {
      if (page > 0) throw invalid(place, subject, 'a page of it is missing')
      // A repository that is not there yet says nothing about the registry, and one that had the API has it still.
      const missing = answer.body.includes('NAME_UNKNOWN')
      if (!missing && referrers.get(path) === undefined) referrers.set(path, 'tag')
      return undefined
    }
    referrers.set(path, 'api')
    entries.push(...entriesIn(answer.body, place, subject).entries)
    if (entries.length > maxReferrers)
      throw invalid(place, subject, `it has more than ${maxReferrers} entries`)
    const next = nextPage(answer)
    if (next === undefined) return entries
    if (!next.same) throw invalid(place, subject, 'its next page is on another host')
    url = next.place
  }
  throw invalid(place, subject, 'its pages do not end')
}

async function referrersByTag(
  place: Place,
  subject: string,
  context: Context,
): Promise<{ root: Record<string, unknown>; entries: unknown[] }> {
  try {
    const { bytes } = await getManifestAt(place, fallbackTag(subject), context)
    return entriesIn(bytes, place, subject)
  } catch (error) {
    const none = error instanceof RegistryError && error.code === 'COPY_NOT_FOUND'
    if (none) return { root: {}, entries: [] }
    throw error
  }
}

function entriesIn(
  bytes: Buffer,
  place: Place,
  subject: string,
): { root: Record<string, unknown>; entries: unknown[] } {
  let root: unknown
  try {
    root = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw invalid(place, subject, 'it is not JSON')
  }
  const { manifests } = (root ?? {}) as { manifests?: unknown }
  if (manifests === null || manifests === undefined)
    return { root: root as Record<string, unknown>, entries: [] }
  if (!Array.isArray(manifests)) throw invalid(place, subject, 'it is no index')
  if (manifests.length > maxReferrers)
    throw invalid(place, subject, `it has more than ${maxReferrers} entries`)
  return { root: root as Record<string, unknown>, entries: manifests }
}

function descriptorOf(entry: unknown, index: number, place: Place): Descriptor {
  return readDescriptor(entry, `manifests[${index}]`, (why) => invalid(place, '', why))
}

function invalid(place: Place, subject: string, why: string): RegistryError {
  const of = isDigest(subject) ? ` of ${subject}` : ''
  return new RegistryError(
    'COPY_MANIFEST_INVALID',
    `list of referrers${of} in ${place.endpoint.host}/${place.path}: ${why}`,
    { host: place.endpoint.host, registry: place.endpoint.name, repository: place.path },
  )
}
