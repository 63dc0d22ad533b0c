import { headBlob } from '../blob/small-blob.ts'
import type { Descriptor } from '../image/manifest.ts'
import { parsePlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { type Context, quietContext } from '../registry/context.ts'
import { headManifest } from '../registry/manifests.ts'
import { type Repository, repositoryOf } from '../registry/repository.ts'
import { type AroundChoice, aroundOptions, walkAround } from './around.ts'
import { concurrently } from './concurrently.ts'
import { type ImageTree, readTree } from './image-tree.ts'

/** What {@link copyImage} would do. */
export interface CopyPlan {
  readonly digest: string
  readonly mediaType: string
  /** The target's tag has the digest already, and everything around the image that is asked for is there. */
  readonly upToDate: boolean
  /** Bytes of blobs that the target's repository lacks. A mount may spare some of them. */
  readonly bytes: number
  /** Blobs that the target's repository lacks. */
  readonly blobs: number
  readonly skipped: number
}

/** Options of {@link planCopy}: those of the copy. */
export interface PlanOptions extends AroundChoice {
  readonly platforms?: readonly string[] | undefined
  /** Foreign layers count too. */
  readonly foreignLayers?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

const atATime = 16

/** Finds out what a copy would move, and writes nothing. @throws RegistryError */
export async function planCopy(
  client: RegistryClient,
  source: ImageReference,
  target: ImageReference,
  options: PlanOptions = {},
): Promise<CopyPlan> {
  const inside = internalsOf(client)
  const context = quietContext(options.signal, formatReference(target))
  const from = repositoryOf(inside, source, 'pull')
  const to = repositoryOf(inside, target, 'pull')
  const platforms = (options.platforms ?? []).map(parsePlatform)
  const foreign = options.foreignLayers !== undefined
  const wanted = source.digest ?? source.tag ?? 'latest'
  const [tree, held] = await Promise.all([
    readTree(from, wanted, platforms, context, foreign),
    headManifest(to, target.tag ?? target.digest ?? 'latest', context),
  ])
  const { digest } = tree.root
  const tagged = held?.digest === digest && platforms.length === 0
  const around = await readAround({ from, to, tree, options, foreign, context })
  // What the target has under the digest of an image it has whole.
  const blobs = new Map([...(tagged ? [] : tree.blobs), ...around.blobs])
  const all = new Set([...tree.blobs.keys(), ...around.blobs.keys()])
  const sameRepository =
    source.registry === target.registry && source.repository === target.repository
  const missing: number[] = []
  await concurrently(
    sameRepository ? [] : [...blobs.values()],
    atATime,
    context,
    async (blob, inner) => {
      if (!(await headBlob(to, blob, inner))) missing.push(blob.size)
    },
  )
  return {
    digest,
    mediaType: tree.manifest.mediaType,
    upToDate: tagged && around.upToDate,
    bytes: missing.reduce((sum, size) => sum + size, 0),
    blobs: missing.length,
    skipped: all.size - missing.length,
  }
}

interface ReadAroundParts {
  readonly from: Repository
  readonly to: Repository
  readonly tree: ImageTree
  readonly options: PlanOptions
  readonly foreign: boolean
  readonly context: Context
}

/** Reads what stands around an image, and whether the target has it all. */
async function readAround({
  from,
  to,
  tree,
  options,
  foreign,
  context,
}: ReadAroundParts): Promise<{ blobs: ReadonlyMap<string, Descriptor>; upToDate: boolean }> {
  const around = aroundOptions(options)
  const blobs = new Map<string, Descriptor>()
  let upToDate = true
  const look = async (reference: string, inner: Context): Promise<string> => {
    const [found, there] = await Promise.all([
      readTree(from, reference, [], inner, foreign),
      headManifest(to, reference, inner),
    ])
    for (const [digest, blob] of found.blobs) blobs.set(digest, blob)
    upToDate &&= there?.digest === found.root.digest
    return found.root.digest
  }
  if (around === undefined) return { blobs, upToDate }
  const subjects = [...tree.manifests.keys()]
  await walkAround({ source: from, options: around, context }, subjects, async (found, inner) => {
    const digests: string[] = []
    const references = [...found.referrers.map(({ digest }) => digest), ...found.tags]
    await concurrently(references, atATime, inner, async (reference, innermost) => {
      const isTag = !reference.includes(':')
      if (isTag && (await headManifest(from, reference, innermost)) === undefined) return
      digests.push(await look(reference, innermost))
    })
    return digests
  })
  return { blobs, upToDate }
}
