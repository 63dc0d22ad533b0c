import type { CopyEvent } from '@containers/image-copy'

/**
 * Counts what a copy sent to the backup, whether it came to an end or not: bytes of blobs and manifests, those that a broken
 * upload sent again once.
 */
export class SentBytes {
  /** Of each blob, how far it came. */
  readonly #blobs = new Map<string, number>()
  #manifests = 0

  note(event: CopyEvent): void {
    if (event.type === 'blob-progress') {
      const { digest, sent } = event
      this.#blobs.set(digest, Math.max(sent, this.#blobs.get(digest) ?? 0))
    } else if (event.type === 'manifest-done' && event.how === 'copied') {
      this.#manifests += event.bytes
    }
  }

  get total(): number {
    let total = this.#manifests
    for (const sent of this.#blobs.values()) total += sent
    return total
  }
}
