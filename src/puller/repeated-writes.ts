import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'

export interface RepeatedWritesOptions {
  readonly log: Log
  readonly clock: Clock
}

/** What was written is written again no sooner than after half a minute, then twice as late each time, up to an hour. */
const firstMs = 30_000
const lastMs = 3_600_000

/**
 * Writes that were accepted, and are asked for again although nothing else is to be written: an admission webhook that changes
 * what is stored has every look at the cluster ask for the same write, and so does who edits a DaemonSet again and again.
 */
export class RepeatedWrites {
  readonly #options: RepeatedWritesOptions
  /** What was written last, by shard: how often in a row, and when. */
  readonly #last = new Map<
    string,
    { readonly content: string; readonly count: number; readonly at: number; isTold: boolean }
  >()

  constructor(options: RepeatedWritesOptions) {
    this.#options = options
  }

  /**
   * For how many milliseconds a shard is not to be written; 0 or less: it may be.
   *
   * @param content equal for writes that say the same of the same object
   */
  waitMs(name: string, content: string): number {
    const { log, clock } = this.#options
    const last = this.#last.get(name)
    if (last?.content !== content) return 0
    const waitMs = last.at + Math.min(firstMs * 2 ** (last.count - 1), lastMs) - clock.now()
    if (waitMs > 0 && last.count > 1 && !last.isTold) {
      last.isTold = true
      log.warn(
        { daemonset: name },
        'somebody else changes what is written, such as another admission webhook; it is written less and less often',
      )
    }
    return waitMs
  }

  /** Takes note of a write that was accepted. */
  note(name: string, content: string): void {
    const last = this.#last.get(name)
    const { count, isTold } = last?.content === content ? last : { count: 0, isTold: false }
    this.#last.set(name, { content, count: count + 1, at: this.#options.clock.now(), isTold })
  }
}
