import { RegistryError } from '../errors.ts'
import { type Descriptor, parseManifest } from '../image/manifest.ts'
import type { Client } from '../registry/client.ts'
import type { Context } from '../registry/context.ts'
import { getManifest, headManifest } from '../registry/manifests.ts'
import { addReferrer, fallbackTag, keepsReferrers, listReferrers } from '../registry/referrers.ts'
import type { Repository } from '../registry/repository.ts'
import { listTags } from '../registry/tags.ts'
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

/** Copies what stands around the given manifests, and around that in turn. */
export async function copyAround(parts: AroundParts, subjects: readonly string[]): Promise<void> {
  const { options, source, context } = parts
  const seen = new Set(subjects)
  const tags = options.signatureTags ? await listTags(source, tagPage, context) : undefined
  let wave = [...seen]
  let found = 0
  for (let depth = 0; wave.length > 0 && depth < options.depth; depth += 1) {
    const next: string[] = []
    for (const subject of wave) {
      const around = [
        ...(options.referrers ? await copyReferrers(parts, subject) : []),
        ...(options.signatureTags ? await copySignatureTags(parts, subject, tags) : []),
      ]
      found += around.length
      if (found > options.max) {
        throw new RegistryError(
          'COPY_MANIFEST_INVALID',
          `${source.registry}/${source.name}: more than ${options.max} referrers and signatures; raise the limit or copy without them`,
          { host: source.registry },
        )
      }
      for (const digest of around) {
        if (seen.has(digest)) continue
        seen.add(digest)
        next.push(digest)
      }
    }
    wave = next
  }
}

async function copyReferrers(parts: AroundParts, subject: string): Promise<string[]> {
  const { client, source, target, copier, context } = parts
  const entries = await listReferrers(source, subject, context)
  for (const entry of entries) {
    const before = copier.tally.bytes
    await copier.ensure(entry, 1, context)
    const wasThere = copier.tally.bytes === before
    // Found in the target, it may still be missing from the list that the target cannot keep by itself.
    if (wasThere && !(await keepsReferrers(target, subject, context)))
      await enter(client, target, entry, subject, context)
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
  { source, target, copier, context }: AroundParts,
  subject: string,
  tags: ReadonlySet<string> | undefined,
): Promise<string[]> {
  const digests: string[] = []
  for (const suffix of cosignSuffixes) {
    const tag = `${fallbackTag(subject)}${suffix}`
    if (tags !== undefined && !tags.has(tag)) continue
    const [there, held] = await Promise.all([
      headManifest(source, tag, context),
      headManifest(target, tag, context),
    ])
    if (there === undefined) continue
    if (there.digest !== undefined && there.digest === held?.digest) {
      digests.push(there.digest)
      continue
    }
    const found = await getManifest(source, tag, context)
    const manifest = parseManifest(found.bytes, found.mediaType, tag, source.registry)
    await copier.below(found, manifest, 1, context)
    await copier.put(found, manifest, tag, 1, context)
    digests.push(found.digest)
  }
  return digests
}
