import { Stop } from '../abortable.ts'
import type { DryRun } from '../blob/dry-run.ts'
import type { Verifier } from '../blob/running-hash.ts'
import { loadCryptoMeanwhile } from '../crypto-module.ts'
import { RegistryError } from '../errors.ts'
import { type CopyEvent, createJob, type Job } from '../events.ts'
import { type Manifest, parseManifest } from '../image/manifest.ts'
import { parsePlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { type Client, internalsOf, type RegistryClient } from '../registry/client.ts'
import type { Context } from '../registry/context.ts'
import {
  getManifest,
  headManifest,
  headTag,
  type ManifestBytes,
  type ManifestHead,
  type OfferedManifest,
  offerManifest,
} from '../registry/manifests.ts'
import { type Repository, repositoryOf } from '../registry/repository.ts'
import type { Learned } from '../registry/requests.ts'
import { type AroundChoice, aroundOptions, copyAround } from './around.ts'
import { ImageCopier } from './image-copier.ts'

/** Options of {@link copyImage}. */
export interface CopyOptions extends AroundChoice {
  /**
   * Platforms to copy, `linux/amd64`; default all. The index stays as it is, byte for byte, so the target must take an index
   * of which some images are missing; many do not, and then nothing is tagged and the error says so.
   */
  readonly platforms?: readonly string[] | undefined
  /**
   * Take along foreign layers (Windows bases), from the source's registry if it holds them, else from the URLs in the manifest
   * that are at one of these hosts (`mcr.microsoft.com`); without credentials, and by https unless the host is marked for http.
   * Default: they are left where their URLs point.
   */
  readonly foreignLayers?: readonly string[] | undefined
  /**
   * Look at every part even when the target's tag has the source's digest already, and bring what is missing. A blob that this
   * client saw there in the last ten minutes counts as looked at. Default false: a manifest that is there counts as complete,
   * since registries take none for less.
   */
  readonly recheck?: boolean | undefined
  /**
   * Who holds the blobs that are sent against their digests. `stream`, the default: this process, while the bytes pass, so that
   * no wrong blob comes to be in the target, and the error says on which side it was altered. `target`: the target alone, which
   * spares the hashing, half of the CPU of a large copy. It is trusted to refuse bytes that do not have the digest of the closing
   * PUT, for which the distribution spec has an error, 400 `DIGEST_INVALID`, but no duty. What it refuses is sent anew, twice, and
   * then fails the copy with `COPY_DIGEST_MISMATCH`, and no word where it was altered. A target that does not look keeps what was
   * altered in the source's storage or on the way, under a digest that it does not have, and nobody knows before somebody pulls
   * it and looks. Sizes, and the digests of manifests and of what is read here, are verified here in both.
   * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
   */
  readonly verify?: Verifier | undefined
  readonly signal?: AbortSignal | undefined
  readonly onEvent?: ((event: CopyEvent) => void) | undefined
}

/** What {@link copyImage} did. */
export interface CopyResult {
  /** Digest of the image, the same in source and target. */
  readonly digest: string
  readonly mediaType: string
  /** Bytes sent to the target, blobs and manifests. */
  readonly bytes: number
  /** Blobs sent. */
  readonly blobs: number
  /** Blobs that were there, and foreign layers, which stay where their URLs point. */
  readonly skipped: number
  /** Blobs that the target took from another of its repositories. */
  readonly mounted: number
}

/**
 * Copies an image, byte for byte, so that its digest stays: single images, indexes with all platforms, artifacts.
 *
 * The target's tag is written last, so it never points at an incomplete image; a copy that fails or is stopped moves no tag.
 * What the target holds already is not sent; only a tag of another name than the source's is written without being asked for,
 * which as what it is already does nothing. The result is a promise and an async iterable of {@link CopyEvent}.
 *
 * @param source by tag or digest; with both, the digest counts
 * @param target its tag is written; without a tag the image is stored by digest only. With a digest, the image must have it.
 * @throws RegistryError, or the signal's reason
 */
export function copyImage(
  client: RegistryClient,
  source: ImageReference,
  target: ImageReference,
  options: CopyOptions = {},
): Job<CopyResult> {
  const inside = internalsOf(client)
  const platforms = (options.platforms ?? []).map(parsePlatform)
  return createJob(
    (emit) => copyOne({ client: inside, source, target, options, platforms, emit }),
    options.onEvent,
  )
}

export interface CopyOneParts {
  readonly client: Client
  readonly source: ImageReference
  readonly target: ImageReference
  readonly options: CopyOptions
  readonly platforms: readonly ReturnType<typeof parsePlatform>[]
  readonly emit: (event: CopyEvent) => void
  /** Given: nothing is written, and what would be is counted. */
  readonly dryRun?: DryRun | undefined
}

/** The work of {@link copyImage}. */
export async function copyOne({
  client,
  source,
  target,
  options,
  platforms,
  emit,
  dryRun,
}: CopyOneParts): Promise<CopyResult> {
  const image = formatReference(target)
  const stop = options.signal ? new Stop(options.signal) : new Stop()
  const context: Context = { signal: stop, image, emit }
  emit({ type: 'image-started', image, source: formatReference(source) })
  try {
    context.signal.throwIfAborted()
    const from = repositoryOf(client, source, 'pull')
    const to = repositoryOf(client, target, dryRun ? 'pull' : 'pull,push', true)
    const result = await copyRoot({
      from,
      to,
      source,
      target,
      client,
      platforms,
      options,
      context,
      dryRun,
    })
    if (dryRun === undefined) client.counts.images.done += 1
    emit({ type: 'image-done', image, digest: result.digest })
    return result
  } catch (error) {
    if (dryRun === undefined) client.counts.images[stop.aborted ? 'stopped' : 'failed'] += 1
    stop.abort(new Error('the copy ended'))
    emit({
      type: 'image-failed',
      image,
      error: error instanceof Error ? error : new Error(String(error)),
    })
    throw error
  } finally {
    stop.end()
  }
}

interface RootParts extends Omit<CopyOneParts, 'emit'> {
  readonly from: Repository
  readonly to: Repository
  readonly context: Context
}

async function copyRoot(parts: RootParts): Promise<CopyResult> {
  const { client, from, to, source, target, platforms, options, context, dryRun } = parts
  const wanted = source.digest ?? source.tag ?? 'latest'
  const goal = target.tag ?? target.digest
  const { held, looked, namesake, head, fetched } = await firstLook(parts, wanted, goal)
  const recheck = options.recheck === true
  const whole = !recheck && copierTakesAll(options)
  const around = aroundOptions(options)
  if (whole && around === undefined && held?.digest !== undefined && held.digest === head?.digest) {
    requireTargetDigest(target, to, held.digest)
    const { digest, mediaType } = held
    return { digest, mediaType, bytes: 0, blobs: 0, skipped: 0, mounted: 0 }
  }
  const found = await (fetched?.verified() ?? getManifest(from, wanted, context))
  requireTargetDigest(target, to, found.digest)
  const manifest = parseManifest(found.bytes, found.mediaType, formatReference(source), from.party)
  const { foreignLayers: hosts } = options
  const copier = new ImageCopier({
    client,
    source: from,
    target: to,
    platforms,
    foreign: hosts && { client, hosts },
    recheck,
    verify: options.verify ?? 'stream',
    dryRun,
  })
  let tagged = held?.digest === found.digest
  const known = tagged || namesake?.digest === found.digest
  // A turn later: the question itself goes first.
  if (!known && dryRun === undefined) setImmediate(warm, parts, manifest)
  const { learned } = to.route.main
  // While a target is being filled with images that it never had, their parts tell soon enough if one is there.
  const guessed = looked === 'filling' && goal !== undefined && learned.absentImages >= enough
  const there = whole && (known || (!guessed && (await holds(to, found.digest, context))))
  if (!there) {
    // A repository that has neither the tag nor the manifest mostly lacks the blobs too.
    if (!guessed && held === undefined && namesake === undefined) copier.expectMissing()
    await copier.below(found, manifest, 0, context)
    const { bytes, mounted } = copier.tally
    if (bytes + mounted === 0) learned.absentImages = 0
  }
  if (there && looked === 'filling' && goal !== undefined) {
    // Against the guess that the tag is new, the image is there: then its tag mostly is too.
    learned.absentTags = 0
    tagged = await isTagged(to, goal, found, context)
  } else if (there && goal === found.digest) tagged = true
  if (around !== undefined)
    await copyAround(
      { ...parts, copier, source: from, target: to, options: around, recheck },
      subjectsOf(copier, found, manifest, whole),
    )
  if (!tagged) {
    await copier.put(found, manifest, goal ?? found.digest, 0, context).catch(async (error) => {
      // Some registries refuse to write a tag again, even as what it is.
      const mayBeTagged = (there || guessed) && looked !== 'yes' && goal !== undefined
      if (!mayBeTagged || context.signal.aborted) throw error
      if (!(await isTagged(to, goal, found, context))) throw error
    })
  }
  return { digest: found.digest, mediaType: manifest.mediaType, ...copier.tally }
}

/** Asks whether the target has the image. */
async function holds(to: Repository, digest: string, context: Context): Promise<boolean> {
  const { learned } = to.route.main
  const found = await headManifest(to, digest, context)
  learned.absentImages = found === undefined ? learned.absentImages + 1 : 0
  return found !== undefined
}

async function isTagged(
  to: Repository,
  tag: string,
  { digest }: ManifestBytes,
  context: Context,
): Promise<boolean> {
  return (await headManifest(to, tag, context))?.digest === digest
}

/** Opens connections for what comes next, while the target is asked whether it has to come. */
function warm({ from, to, context }: RootParts, manifest: Manifest): void {
  if (context.signal.aborted) return
  const parts = (manifest.kind === 'index' ? manifest.manifests : manifest.blobs).length
  if (from.route.reads.length === 1) from.route.main.warm(parts, context)
  // As long as mounting is unknown there, larger blobs are asked for twice.
  to.route.main.warm(to.route.main.learned.selfMount === 'unknown' ? 2 * parts : parts, context)
}

/** Tags in a row of which one thing was found, after which it is taken to hold for the next too. */
const enough = 3

interface FirstLook {
  /** What the target's tag is now. */
  readonly held: ManifestHead | undefined
  /** Whether the target's tag was asked for, or why not: the target is being filled, or the tag is a new name. */
  readonly looked: 'yes' | 'filling' | 'renamed'
  /** What the source's own tag is in the target, as far as it was asked for. */
  readonly namesake: ManifestHead | undefined
  /** What the source is, as far as known without its bytes. */
  readonly head: { readonly digest: string | undefined } | undefined
  readonly fetched: OfferedManifest | undefined
}

/**
 * Asks both sides at once. The source is asked by GET, since mostly its bytes are needed; by HEAD where mostly they are not,
 * because the target is up to date, and at Docker Hub, which counts GETs; and not at all yet when its digest is given.
 */
async function firstLook(
  { from, to, source, context, dryRun }: RootParts,
  wanted: string,
  goal: string | undefined,
): Promise<FirstLook> {
  const { learned } = to.route.main
  const own = source.tag ?? 'latest'
  const looked = howToLook(source, goal, own, learned, dryRun !== undefined)
  const asksNamesake = looked === 'renamed' && learned.absentNamesakes < enough
  const tag = looked === 'yes' ? goal : asksNamesake ? own : undefined
  if (tag === undefined) to.route.main.warm(1, context)
  const byHead = counted(from) || (looked === 'yes' && learned.rightTags >= enough)
  const answers = Promise.all([
    tag === undefined ? undefined : headManifest(to, tag, context),
    source.digest === undefined && byHead ? headTag(from, wanted, context) : undefined,
    source.digest === undefined && !byHead ? offerManifest(from, wanted, context) : undefined,
  ])
  // Where the target's tag may be right already, the bytes mostly need no verifying.
  if (looked !== 'yes') loadCryptoMeanwhile(answers)
  const [target, head, fetched] = await answers
  const absent = target === undefined
  const right = !absent && target.digest === (head ?? fetched ?? source).digest
  if (looked === 'yes') learned.absentTags = absent ? learned.absentTags + 1 : 0
  if (looked === 'yes') learned.rightTags = right ? learned.rightTags + 1 : 0
  if (asksNamesake) learned.absentNamesakes = absent ? learned.absentNamesakes + 1 : 0
  return {
    held: looked === 'yes' ? target : undefined,
    looked,
    namesake: asksNamesake ? target : undefined,
    head: head ?? { digest: source.digest ?? fetched?.digest },
    fetched,
  }
}

/**
 * Whether the target's tag is asked for. Where it is not likely to be there, the digest alone tells as much with one request
 * less: while a target is being filled, and under another name than the source's. Under another name the target often holds
 * the image by the source's name already; asked for at once with the source, that saves the round trip for the digest.
 * A dry run does not write to find out, and so it asks.
 */
function howToLook(
  source: ImageReference,
  goal: string | undefined,
  own: string,
  { absentTags }: Learned,
  dry: boolean,
): FirstLook['looked'] {
  if (goal === undefined) return 'filling'
  if (source.digest !== undefined || dry) return 'yes'
  if (goal !== own) return 'renamed'
  return absentTags >= enough ? 'filling' : 'yes'
}

/** Docker Hub counts each GET of a manifest as a pull, and no HEAD. */
function counted(repository: Repository): boolean {
  return repository.registry === 'docker.io'
}

function copierTakesAll(options: CopyOptions): boolean {
  return (options.platforms ?? []).length === 0
}

/** The image, and those it is made of, whether they were copied now or not. */
function subjectsOf(
  copier: ImageCopier,
  found: ManifestBytes,
  manifest: Manifest,
  whole: boolean,
): string[] {
  const below =
    whole && manifest.kind === 'index' ? manifest.manifests.map(({ digest }) => digest) : []
  return [...new Set([found.digest, ...below, ...copier.copied.map(({ digest }) => digest)])]
}

function requireTargetDigest(target: ImageReference, { party }: Repository, digest: string): void {
  if (target.digest === undefined || target.digest === digest) return
  throw new RegistryError(
    'COPY_DIGEST_MISMATCH',
    `the source has digest ${digest}, and the target ${formatReference(target)} asks for another`,
    party,
  )
}
