import type { Clock } from '../kube/clock.ts'
import type { ImageStore } from '../state/store.ts'
import type { Users } from './inventory.ts'
import { isCountsOnly, planUsage } from './usage.ts'

/** Numbers of users are for people: fresh enough, and a busy image costs the API server twelve writes a minute. */
const countsEveryMs = 5_000

export interface UsageWriterOptions {
  readonly store: Pick<ImageStore, 'get' | 'putUsage' | 'remove'>
  /** Whether an image stands in the static IMAGES. */
  readonly isStatic: (reference: string) => boolean
  readonly clock: Clock
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** Writes who uses an image where that has changed, and no oftener than anybody needs. */
export class UsageWriter {
  readonly #options: UsageWriterOptions
  /** Images whose users were opted out, until that is written. */
  readonly #optedOut = new Set<string>()
  /** When the users of an image were last written, on the clock that never jumps. */
  readonly #writtenAt = new Map<string, number>()

  constructor(options: UsageWriterOptions) {
    this.#options = options
  }

  noteOptedOut(reference: string): void {
    this.#optedOut.add(reference)
  }

  /**
   * @param keepSeconds how long an image stays wanted without users
   * @returns milliseconds after which to ask again, if that is to be
   * @throws ConflictError
   */
  async write(
    reference: string,
    users: Users,
    keepSeconds: number,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { store, isStatic, now } = this.#options
    const image = store.get(reference)
    const plan = planUsage({
      ...{ users, image, keepSeconds },
      isStatic: isStatic(reference),
      optedOut: this.#optedOut.has(reference),
      now: now(),
    })
    if (plan.action !== 'put') {
      if (plan.action === 'remove' && image !== undefined) await store.remove(image, signal)
      this.#writtenAt.delete(reference)
      this.#optedOut.delete(reference)
      return undefined
    }
    const early = this.#writtenTooRecently(reference)
    if (early > 0 && isCountsOnly(image?.usage, plan.usage)) return early
    await store.putUsage(reference, plan.usage, signal)
    if (store.get(reference) !== image) this.#writtenAt.set(reference, this.#options.clock.now())
    this.#optedOut.delete(reference)
    if (plan.recheckAt === undefined) return undefined
    return Math.max(1, plan.recheckAt - now())
  }

  #writtenTooRecently(reference: string): number {
    const at = this.#writtenAt.get(reference)
    return at === undefined ? 0 : at + countsEveryMs - this.#options.clock.now()
  }
}
