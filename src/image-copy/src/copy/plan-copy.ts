import { DryRun } from '../blob/dry-run.ts'
import type { CopyEvent } from '../events.ts'
import { parsePlatform } from '../image/platform.ts'
import type { ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { type CopyOptions, copyOne } from './copy-image.ts'

/** What {@link copyImage} would do. */
export interface CopyPlan {
  readonly digest: string
  readonly mediaType: string
  /** The target's tag has the digest already, and everything that is asked for is there. */
  readonly upToDate: boolean
  /** Bytes of blobs and manifests that the target's repository lacks. A mount may spare some of them. */
  readonly bytes: number
  /** Blobs that the target's repository lacks. */
  readonly blobs: number
  /** Blobs that were found there, and foreign layers. */
  readonly skipped: number
}

/**
 * Options of {@link planCopy}: those of the copy, of which `verify` changes nothing here. Events tell of images, retries and pulls
 * left, and of no parts.
 */
export type PlanOptions = CopyOptions

/** Finds out what a copy would move, by the copy's own way, and writes nothing. @throws RegistryError */
export async function planCopy(
  client: RegistryClient,
  source: ImageReference,
  target: ImageReference,
  options: PlanOptions = {},
): Promise<CopyPlan> {
  const emit = (event: CopyEvent): void => {
    if (!/^(?:blob|manifest)-/.test(event.type)) options.onEvent?.(event)
  }
  const { digest, mediaType, bytes, blobs, skipped } = await copyOne({
    client: internalsOf(client),
    source,
    target,
    options,
    platforms: (options.platforms ?? []).map(parsePlatform),
    emit,
    dryRun: new DryRun(),
  })
  return { digest, mediaType, upToDate: bytes + blobs === 0, bytes, blobs, skipped }
}
