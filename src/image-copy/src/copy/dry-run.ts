import type { BlobOutcome, PlaceBlobParts } from '../blob/place-blob.ts'
import { headBlob } from '../blob/small-blob.ts'
import { isForeign } from '../image/manifest.ts'

/** Marks a copy that writes nothing, and stands in for what it would do to blobs. */
export class DryRun {
  /** As in a copy, a blob that several manifests name is sent for the first of them. */
  readonly #asked = new Set<string>()

  /** What would become of a blob, if the target mounts none. */
  async placeBlob({
    source,
    target,
    blob,
    foreign,
    context,
  }: Omit<PlaceBlobParts, 'known' | 'outlook'>): Promise<BlobOutcome> {
    if (isForeign(blob) && foreign === undefined) return 'skipped'
    if (source.registry === target.registry && source.name === target.name) return 'present'
    if (this.#asked.has(blob.digest)) return 'present'
    this.#asked.add(blob.digest)
    return (await headBlob(target, blob, context)) ? 'present' : 'copied'
  }
}
