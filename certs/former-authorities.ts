import type { Clock } from '../src/kube/clock.ts'
import { certificatesIn } from './pem.ts'

/**
 * How long replicas may differ in what they serve: a kubelet brings a changed Secret into a mounted volume within some 90 s,
 * one that is behind takes twice that, and a replica looks every 10 s.
 */
const formerMs = 300_000

/**
 * The authorities that a bundle held until lately. Who replaces a certificate and its authority in one go leaves no time
 * between them, so whom the next bundle does not name may still have signed what another replica serves.
 */
export class FormerAuthorities {
  readonly #clock: Clock
  #newest = ''
  /** PEM, and until when it is to be trusted. */
  readonly #former = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes note of the newest bundle, and gives it with the former authorities behind. One that names none stays so. */
  behind(bundle: string): string {
    const now = this.#clock.now()
    const named = certificatesIn(bundle)
    for (const authority of certificatesIn(this.#newest)) {
      if (!this.#former.has(authority)) this.#former.set(authority, now + formerMs)
    }
    this.#newest = bundle
    for (const [authority, until] of this.#former) {
      if (until <= now || named.includes(authority)) this.#former.delete(authority)
    }
    if (named.length === 0 || this.#former.size === 0) return bundle
    return [bundle.trimEnd(), ...this.#former.keys()].join('\n')
  }

  /** Milliseconds until the first of them is to be trusted no more; undefined: there is none. */
  leftMs(): number | undefined {
    if (this.#former.size === 0) return undefined
    return Math.min(...this.#former.values()) - this.#clock.now()
  }
}
