import type { ManifestHead } from './manifests.ts'

/** Two megabytes with their names; a cluster has some hundreds. */
const maxTags = 4096

/** What tags of a registry were when they were last asked for; of too many, the first are forgotten. */
export class SeenTags {
  readonly #heads = new Map<string, ManifestHead>()

  /** @param name repository and tag, `library/nginx:1` */
  get(name: string): ManifestHead | undefined {
    return this.#heads.get(name)
  }

  /** @param head undefined: it is not there, or not in a way that it can be asked for again by */
  set(name: string, head: ManifestHead | undefined): void {
    this.#heads.delete(name)
    if (head === undefined) return
    this.#heads.set(name, head)
    if (this.#heads.size <= maxTags) return
    for (const oldest of this.#heads.keys()) {
      this.#heads.delete(oldest)
      return
    }
  }
}
