import type { CpuCgroup } from './cpu-cgroup.ts'

export interface CpuShareOptions {
  readonly cgroup: Pick<CpuCgroup, 'limit' | 'usedMs'>
  /** CPU time that this process used so far, in milliseconds. */
  readonly ownMs: () => number
  /** Milliseconds on a clock that never goes back. */
  readonly now: () => number
}

/** Part of the limit that copying may use while nobody else wants any: what is left answers a burst of admissions. */
const MOST = 0.6
/**
 * Part of it that copying gets whatever the others want. What admission loses of its own is at most this; copying goes on
 * at a few MB/s even so.
 */
const LEAST = 0.05
/** How often the others' use is looked at; a quota's period is 100 ms everywhere. */
const LOOK_MS = 100
/** Looks over which the others' use is averaged, so that a look between two bursts does not take them for idle. */
const LOOKS = 10
/** CPU time that may be used at once after a rest, in milliseconds. */
const BURST_MS = 3
/** No pause is longer: connections are to be answered, and a signal to be heeded. */
const LONGEST_PAUSE_MS = 2_000

/**
 * What a process may use of a CPU limit that it shares with one that must never wait for it.
 *
 * When the processes of a control group have used its quota, the kernel stops all of them until the next period, whatever
 * their priority: a process that uses all that is left by the others has them stopped too, tens of milliseconds at a time.
 */
export class CpuShare {
  readonly #options: CpuShareOptions
  #limit: number | undefined
  #othersRate = 0
  #look: { readonly at: number; readonly ownMs: number; readonly usedMs: number }
  #last: { readonly at: number; readonly ownMs: number }
  #creditMs = BURST_MS

  constructor(options: CpuShareOptions) {
    this.#options = options
    const { cgroup, ownMs, now } = options
    this.#limit = cgroup.limit()
    this.#look = { at: now(), ownMs: ownMs(), usedMs: cgroup.usedMs() }
    this.#last = this.#look
  }

  /** Cores that this process may use now; undefined: without a limit it needs no share. */
  get cores(): number | undefined {
    if (this.#limit === undefined) return undefined
    const left = this.#limit * MOST - this.#othersRate
    return Math.max(this.#limit * LEAST, left)
  }

  /** For how many milliseconds this process is to rest now; 0: it may go on. */
  pauseMs(): number {
    const at = this.#options.now()
    const ownMs = this.#options.ownMs()
    if (at - this.#look.at >= LOOK_MS) this.#lookAround(at, ownMs)
    const { cores } = this
    const used = ownMs - this.#last.ownMs
    const earned = (at - this.#last.at) * (cores ?? 0)
    this.#last = { at, ownMs }
    if (cores === undefined) return 0
    this.#creditMs = Math.min(BURST_MS, this.#creditMs + earned) - used
    if (this.#creditMs >= 0) return 0
    return Math.min(LONGEST_PAUSE_MS, -this.#creditMs / cores)
  }

  #lookAround(at: number, ownMs: number): void {
    const { cgroup } = this.#options
    // A container may be resized while it runs.
    this.#limit = cgroup.limit()
    const usedMs = cgroup.usedMs()
    const others = Math.max(0, usedMs - this.#look.usedMs - (ownMs - this.#look.ownMs))
    const rate = others / (at - this.#look.at)
    // What comes is believed at once, what goes is waited for.
    const weight = rate > this.#othersRate ? 1 : 1 / LOOKS
    this.#othersRate += (rate - this.#othersRate) * weight
    this.#look = { at, ownMs, usedMs }
  }
}
