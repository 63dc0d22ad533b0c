import { headBlob } from '../blob/small-blob.ts'
import { parsePlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { headManifest } from '../registry/manifests.ts'
import { repositoryOf } from '../registry/repository.ts'
import { concurrently } from './concurrently.ts'
import { readTree } from './image-tree.ts'

/** What {@link copyImage} would do. */
export interface CopyPlan {
  readonly digest: string
  readonly mediaType: string
  /** The target's tag has the digest already. */
  readonly upToDate: boolean
  /** Bytes of blobs that the target's repository lacks. A mount may spare some of them. */
  readonly bytes: number
  /** Blobs that the target's repository lacks. */
  readonly blobs: number
  readonly skipped: number
}

/** Options of {@link planCopy}. */
export interface PlanOptions {
  readonly platforms?: readonly string[] | undefined
  /** As for a copy: foreign layers count too. */
  readonly foreignLayers?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

const blobsAtATime = 16

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
  const [tree, held] = await Promise.all([
    readTree(
      from,
      source.digest ?? source.tag ?? 'latest',
      platforms,
      context,
      options.foreignLayers !== undefined,
    ),
    headManifest(to, target.tag ?? target.digest ?? 'latest', context),
  ])
  const { digest } = tree.root
  const base = { digest, mediaType: tree.manifest.mediaType }
  if (held?.digest === digest && platforms.length === 0) {
    return { ...base, upToDate: true, bytes: 0, blobs: 0, skipped: tree.blobs.size }
  }
  let bytes = 0
  let blobs = 0
  const sameRepository =
    source.registry === target.registry && source.repository === target.repository
  await concurrently(
    sameRepository ? [] : [...tree.blobs.values()],
    blobsAtATime,
    context,
    async (blob, inner) => {
      if (await headBlob(to, blob, inner)) return
      bytes += blob.size
      blobs += 1
    },
  )
  return { ...base, upToDate: false, bytes, blobs, skipped: tree.blobs.size - blobs }
}
