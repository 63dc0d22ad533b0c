import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Repository } from '../registry/repository.ts'
import type { BlobOutcome } from './blob-outcome.ts'
import { headBlob } from './small-blob.ts'

/** Marks a copy that writes nothing, and stands in for what it would do to blobs. */
export class DryRun {
  /** As in a copy, a blob that several manifests name is sent for the first of them. */
  readonly #asked = new Set<string>()

  /** What would become of a blob, if the target mounts none. */
  async placeBlob(target: Repository, blob: Descriptor, context: Context): Promise<BlobOutcome> {
    if (this.#asked.has(blob.digest)) return 'present'
    this.#asked.add(blob.digest)
    return (await headBlob(target, blob, context)) ? 'present' : 'copied'
  }
}
