import { abortable, type StopSignal } from '../abortable.ts'
import { now } from '../clock.ts'

/** What is known of one blob at one target host. */
interface Entry {
  /** Repositories that hold it, each with the time it was seen there, in milliseconds. */
  readonly repositories: Map<string, number>
  /** An upload that is under way; settles when it ended either way. */
  leader: Promise<void> | undefined
}

/** Registries collect unused blobs after hours at the earliest; ten minutes stays far below. */
const knowledgeMs = 10 * 60_000
/** About 20 MB at worst. */
const maxEntries = 50_000

/**
 * Which blobs a target registry holds, as far as this client saw, and which are on their way: so that each digest is
 * uploaded once at a time across all images of all running copies, and mounted from where it is known to be.
 */
export class BlobLedger {
  readonly #entries = new Map<string, Entry>()

  /** Whether `repository` was seen to hold the blob lately. */
  holds(host: string, repository: string, digest: string): boolean {
    const seen = this.#entries.get(key(host, digest))?.repositories.get(repository)
    return seen !== undefined && now() - seen < knowledgeMs
  }

  /** Another repository that holds the blob, to mount it from. */
  holderOf(host: string, digest: string): string | undefined {
    const found = this.#entries.get(key(host, digest))?.repositories
    if (found === undefined) return undefined
    for (const [repository, seen] of found) if (now() - seen < knowledgeMs) return repository
    return undefined
  }

  add(host: string, repository: string, digest: string): void {
    this.#entry(host, digest).repositories.set(repository, now())
  }

  /** Forgets what was known of a blob: the registry says otherwise. */
  forget(host: string, digest: string): void {
    this.#entries.get(key(host, digest))?.repositories.clear()
  }

  /**
   * Runs `work` as the only one for this blob at this host. Others wait until it ended, and then run in their turn, by when
   * {@link holderOf} mostly has an answer for them.
   */
  async lead<T>(
    host: string,
    digest: string,
    signal: StopSignal,
    work: () => Promise<T>,
  ): Promise<T> {
    const entry = this.#entry(host, digest)
    while (entry.leader !== undefined && this.holderOf(host, digest) === undefined)
      await abortable(entry.leader, signal)
    if (entry.leader !== undefined) return work()
    const turn = Promise.withResolvers<void>()
    entry.leader = turn.promise
    try {
      return await work()
    } finally {
      entry.leader = undefined
      turn.resolve()
    }
  }

  #entry(host: string, digest: string): Entry {
    const name = key(host, digest)
    let entry = this.#entries.get(name)
    if (entry === undefined) {
      entry = { repositories: new Map(), leader: undefined }
      this.#entries.set(name, entry)
      if (this.#entries.size > maxEntries) this.#dropOldest()
    }
    return entry
  }

  #dropOldest(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.leader !== undefined) continue
      this.#entries.delete(name)
      return
    }
  }
}

function key(host: string, digest: string): string {
  return `${host} ${digest}`
}
