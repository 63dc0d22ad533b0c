import type { DryRun } from '../blob/dry-run.ts'
import { RegistryError } from '../errors.ts'
import { type Descriptor, parseManifest } from '../image/manifest.ts'
import type { Client } from '../registry/client.ts'
import type { Context } from '../registry/context.ts'
import { getManifest, headManifest } from '../registry/manifests.ts'
import { addReferrer, fallbackTag, keepsReferrers, listReferrers } from '../registry/referrers.ts'
import type { Repository } from '../registry/repository.ts'
import { tagsOnOnePage } from '../registry/tags.ts'
import { concurrently } from './concurrently.ts'
import type { ImageCopier } from './image-copier.ts'

/** What a caller may ask to be taken along. */
export interface AroundChoice {
  /** Take along what names the image as its subject, by referrers API or fallback tag. Default false. */
  readonly referrers?: boolean | undefined
  /** Take along cosign's `.sig`, `.att` and `.sbom` tags. Default: as `referrers`. */
  readonly signatureTags?: boolean | undefined
  /** How far to follow referrers of referrers. Default 3. */
  readonly referrersDepth?: number | undefined
  /** Most referrers and signatures of one image; more is an error. Default 1000. */
  readonly maxReferrers?: number | undefined
}

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

/** @returns undefined: nothing is to be taken along */
export function aroundOptions(options: AroundChoice): AroundOptions | undefined {
  const referrers = options.referrers ?? false
  const signatureTags = options.signatureTags ?? referrers
  if (!referrers && !signatureTags) return undefined
  return {
    referrers,
    signatureTags,
    depth: options.referrersDepth ?? 3,
    max: options.maxReferrers ?? 1000,
  }
}

/** What may stand around one manifest. */
interface Surroundings {
  readonly subject: string
  readonly referrers: readonly Descriptor[]
  /** cosign's tags for it, of which some or all may not exist. */
  readonly tags: readonly string[]
}

interface WalkParts {
  readonly source: Repository
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
 * Finds what stands around the given manifests, and around that in turn. Many are visited at a time, but nothing before what
 * it stands around.
 *
 * @param visit does something with it, and says which manifests were there
 */
async function walkAround(
  { source, options, context }: WalkParts,
  subjects: readonly string[],
  visit: (around: Surroundings, context: Context) => Promise<readonly string[]>,
): Promise<void> {
  const seen = new Set(subjects)
  const listed = options.signatureTags ? await tagsOnOnePage(source, tagPage, context) : undefined
  let found = 0
  const count = (more: number): void => {
    found += more
    if (found <= options.max) return
    throw new RegistryError(
      'COPY_MANIFEST_INVALID',
      `${source.registry}/${source.name}: more than ${options.max} referrers and signatures; raise the limit or copy without them`,
      source.party,
    )
  }
  let wave = [...seen]
  for (let depth = 0; wave.length > 0 && depth < options.depth; depth += 1) {
    const around = new Set<string>()
    await concurrently(wave, subjectsAtATime, context, async (subject, inner) => {
      const referrers = options.referrers ? await listReferrers(source, subject, inner) : []
      count(referrers.length)
      const tags = options.signatureTags ? cosignTags(subject, listed) : []
      const digests = await visit({ subject, referrers, tags }, inner)
      count(Math.max(0, digests.length - referrers.length))
      for (const digest of digests) around.add(digest)
    })
    wave = [...around].filter((digest) => !seen.has(digest))
    for (const digest of wave) seen.add(digest)
  }
}

function cosignTags(subject: string, listed: ReadonlySet<string> | undefined): readonly string[] {
  return cosignSuffixes
    .map((suffix) => `${fallbackTag(subject)}${suffix}`)
    .filter((tag) => listed === undefined || listed.has(tag))
}

export interface AroundParts extends WalkParts {
  readonly client: Client
  readonly target: Repository
  readonly copier: ImageCopier
  /** Look at every part of what the target has too. */
  readonly recheck: boolean
  /** Given: nothing is written. */
  readonly dryRun?: DryRun | undefined
}

/** Copies what stands around the given manifests. */
export async function copyAround(parts: AroundParts, subjects: readonly string[]): Promise<void> {
  await walkAround(parts, subjects, async (around, inner) => {
    const digests: string[] = around.referrers.map(({ digest }) => digest)
    const copySignature = async (tag: string, context: Context): Promise<void> => {
      const digest = await copySignatureTag({ ...parts, context }, tag)
      if (digest !== undefined) digests.push(digest)
    }
    const works = [
      (context: Context) => copyReferrers({ ...parts, context }, around),
      ...around.tags.map((tag) => (context: Context) => copySignature(tag, context)),
    ]
    await concurrently(works, works.length, inner, (work, innermost) => work(innermost))
    return digests
  })
}

async function copyReferrers(
  { client, target, copier, dryRun, context }: AroundParts,
  { subject, referrers }: Surroundings,
): Promise<void> {
  const present: Descriptor[] = []
  await concurrently(referrers, referrersAtATime, context, async (entry, inner) => {
    if ((await copier.ensure(entry, 1, inner)) === 'present') present.push(entry)
  })
  if (dryRun !== undefined) return
  // Found in the target, they may still be missing from the list that the target cannot keep by itself.
  if (present.length === 0 || (await keepsReferrers(target, subject, context))) return
  const held = await listReferrers(target, subject, context)
  const listed = new Set(held.map(({ digest }) => digest))
  const missing = present.filter(({ digest }) => !listed.has(digest))
  await concurrently(missing, referrersAtATime, context, (entry, inner) =>
    enter(client, target, entry, subject, inner),
  )
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
    target.party,
  )
  if (manifest.subject?.digest === subject)
    await addReferrer({ client, target, subject, manifest, found, context })
}

/** @returns undefined: the source has no such tag */
async function copySignatureTag(
  { source, target, copier, recheck, context }: AroundParts,
  tag: string,
): Promise<string | undefined> {
  const [there, held] = await Promise.all([
    headManifest(source, tag, context),
    headManifest(target, tag, context),
  ])
  if (there === undefined) return undefined
  if (!recheck && there.digest !== undefined && there.digest === held?.digest) return there.digest
  const found = await getManifest(source, tag, context)
  const manifest = parseManifest(found.bytes, found.mediaType, tag, source.party)
  await copier.below(found, manifest, 1, context)
  if (found.digest !== held?.digest) await copier.put(found, manifest, tag, 1, context)
  return found.digest
}
