import type { Used } from './reader.ts'

/** Where what is kept of objects goes. */
export interface UsedSink {
  set(key: string, used: Used): void
  delete(key: string): void
}

const nothing: readonly string[] = []

/**
 * Lets only those past revisions of a workload count that a rollback may go to.
 *
 * A ReplicaSet that its Deployment scaled away is a past revision. Of all revisions of one owner the newest one is
 * current, and so many before it count besides; those that still have pods always do. Everything else passes unchanged.
 */
export class Revisions implements UsedSink {
  readonly #kept: number
  readonly #sink: UsedSink
  readonly #byOwner = new Map<string, Map<string, Used>>()
  readonly #ownerOf = new Map<string, string>()

  /** @param kept how many revisions before the current one count */
  constructor(kept: number, sink: UsedSink) {
    this.#kept = kept
    this.#sink = sink
  }

  set(key: string, used: Used): void {
    const owner = used.revision === undefined ? undefined : used.owner
    if (this.#ownerOf.get(key) !== owner) this.#leave(key)
    if (owner === undefined) {
      this.#sink.set(key, used)
      return
    }
    const revisions = this.#byOwner.get(owner) ?? new Map<string, Used>()
    this.#byOwner.set(owner, revisions)
    this.#ownerOf.set(key, owner)
    revisions.set(key, used)
    this.#pass(revisions)
  }

  delete(key: string): void {
    this.#leave(key)
    this.#sink.delete(key)
  }

  #leave(key: string): void {
    const owner = this.#ownerOf.get(key)
    const revisions = owner === undefined ? undefined : this.#byOwner.get(owner)
    if (owner === undefined || revisions === undefined) return
    this.#ownerOf.delete(key)
    revisions.delete(key)
    if (revisions.size === 0) this.#byOwner.delete(owner)
    else this.#pass(revisions)
  }

  #pass(revisions: ReadonlyMap<string, Used>): void {
    const newestFirst = [...revisions].sort(([, a], [, b]) => numberOf(b) - numberOf(a))
    for (const [age, [key, used]] of newestFirst.entries()) {
      const counts = used.revision?.atRest !== true || age <= this.#kept
      this.#sink.set(key, counts ? used : { ...used, references: nothing })
    }
  }
}

function numberOf({ revision }: Used): number {
  return revision?.number ?? 0
}
