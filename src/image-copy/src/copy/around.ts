import { RegistryError } from '../errors.ts'
import { type Descriptor, parseManifest } from '../image/manifest.ts'
import type { Client } from '../registry/client.ts'
import type { Context } from '../registry/context.ts'
import { getManifest, headManifest } from '../registry/manifests.ts'
import { addReferrer, fallbackTag, keepsReferrers, listReferrers } from '../registry/referrers.ts'
import type { Repository } from '../registry/repository.ts'
import { listTags } from '../registry/tags.ts'
import { concurrently } from './concurrently.ts'
import type { ImageCopier } from './image-copier.ts'

/** What to take along that points at an image without being part of it. */
export interface AroundOptions {
  /** Manifests that name it as their subject. */
  readonly referrers: boolean
  /** cosign's `sha256-….sig`, `.att` and `.sbom` tags. */
  readonly signatureTags: boolean
  /** Signatures of signatures: how far to follow. */
  readonly depth: number
  /** Found manifests in all; more is an error, not a shorter copy. */
  readonly max: number
}

export interface AroundParts {
  readonly client: Client
  readonly source: Repository
  readonly target: Repository
  readonly copier: ImageCopier
  readonly options: AroundOptions
  readonly context: Context
}

const cosignSuffixes = ['.sig', '.att', '.sbom'] as const
/** One page of tags tells which of cosign's exist; a repository with more tags is asked for each by name. */
const tagPage = 1000
/** Enough to hide round trips; the requests themselves are bounded by the hosts' windows. */
const subjectsAtATime = 8
const referrersAtATime = 8

/**
 * Copies what stands around the given manifests, and around that in turn. What stands around one manifest is complete in the
 * target before anybody looks for what stands around that.
 */
export async function copyAround(parts: AroundParts, subjects: readonly string[]): Promise<void> {
  const { options, source, context } = parts
  const seen = new Set(subjects)
  const tags = options.signatureTags ? await listTags(source, tagPage, context) : undefined
  let found = 0
  const count = (more: number): void => {
    found += more
    if (found <= options.max) return
    throw new RegistryError(
      'COPY_MANIFEST_INVALID',
      `${source.registry}/${source.name}: more than ${options.max} referrers and signatures; raise the limit or copy without them`,
      { host: source.registry },
    )
  }
  let wave = [...seen]
  for (let depth = 0; wave.length > 0 && depth < options.depth; depth += 1) {
    const around = new Set<string>()
    await concurrently(wave, subjectsAtATime, context, async (subject, inner) => {
      const here = { ...parts, context: inner, count }
      const lists = await Promise.all([
        options.referrers ? copyReferrers(here, subject) : [],
        options.signatureTags ? copySignatureTags(here, subject, tags) : [],
      ])
      for (const digest of lists.flat()) around.add(digest)
    })
    wave = [...around].filter((digest) => !seen.has(digest))
    for (const digest of wave) seen.add(digest)
  }
}

interface WaveParts extends AroundParts {
  /** To be told of what was found before it is copied. @throws RegistryError when it is too much */
  readonly count: (more: number) => void
}

async function copyReferrers(parts: WaveParts, subject: string): Promise<readonly string[]> {
  const { client, source, target, copier, context, count } = parts
  const entries = await listReferrers(source, subject, context)
  count(entries.length)
  const present: Descriptor[] = []
  await concurrently(entries, referrersAtATime, context, async (entry, inner) => {
    if ((await copier.ensure(entry, 1, inner)) === 'present') present.push(entry)
  })
  // Found in the target, they may still be missing from the list that the target cannot keep by itself.
  if (present.length > 0 && !(await keepsReferrers(target, subject, context))) {
    const held = await listReferrers(target, subject, context)
    const listed = new Set(held.map(({ digest }) => digest))
    const missing = present.filter(({ digest }) => !listed.has(digest))
    await concurrently(missing, referrersAtATime, context, (entry, inner) =>
      enter(client, target, entry, subject, inner),
    )
  }
  return entries.map(({ digest }) => digest)
}

async function enter(
  client: Client,
  target: Repository,
  entry: Descriptor,
  subject: string,
  context: Context,
): Promise<void> {
  const found = await getManifest(target, entry.digest, context)
  const manifest = parseManifest(
    found.bytes,
    entry.mediaType || found.mediaType,
    entry.digest,
    target.registry,
  )
  if (manifest.subject?.digest === subject)
    await addReferrer({ client, target, subject, manifest, found, context })
}

async function copySignatureTags(
  parts: WaveParts,
  subject: string,
  tags: ReadonlySet<string> | undefined,
): Promise<readonly string[]> {
  const wanted = cosignSuffixes
    .map((suffix) => `${fallbackTag(subject)}${suffix}`)
    .filter((tag) => tags === undefined || tags.has(tag))
  const digests: string[] = []
  await concurrently(wanted, wanted.length, parts.context, async (tag, inner) => {
    const digest = await copySignatureTag({ ...parts, context: inner }, tag)
    if (digest !== undefined) digests.push(digest)
  })
  return digests
}

/** @returns undefined: the source has no such tag */
async function copySignatureTag(
  { source, target, copier, context, count }: WaveParts,
  tag: string,
): Promise<string | undefined> {
  const [there, held] = await Promise.all([
    headManifest(source, tag, context),
    headManifest(target, tag, context),
  ])
  if (there === undefined) return undefined
  count(1)
  if (there.digest !== undefined && there.digest === held?.digest) return there.digest
  const found = await getManifest(source, tag, context)
  const manifest = parseManifest(found.bytes, found.mediaType, tag, source.registry)
  await copier.below(found, manifest, 1, context)
  await copier.put(found, manifest, tag, 1, context)
  return found.digest
}
