import { closeSync, openSync, readSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

/** Of a thread: what it ran so far, and waited for a core, in milliseconds. */
interface ThreadTimes {
  readonly runMs: number
  readonly waitMs: number
}

export interface LoopBlocks {
  /** Longest time for which the event loop was held by what ran in it. */
  readonly longestMs: number
  /** How late a timer was at most, other processes' turns on the same cores included. */
  readonly latestMs: number
}

/**
 * Watches for blocks of the event loop by a timer: what held the timer up is the loop's own work, or the kernel, which gave the
 * core to somebody else.
 *
 * Of a delay counts what the thread ran since the last tick, and what it slept outside the loop's own waiting, as for the
 * collector's helpers; what it stood ready and waited for a core does not. Neither hides what the program did: a block of 20 ms
 * is 20 ms of running and sleeping, however often it was put off.
 *
 * @param tickMs - blocks shorter than a tick may be seen shorter than they were
 */
export function watchLoop(tickMs: number): { stop(): LoopBlocks } {
  const times = openThreadTimes()
  let longestMs = 0
  let latestMs = 0
  let [at, { runMs, waitMs }] = [performance.now(), times.read()]
  let idle = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const now = performance.now()
    const lateMs = now - at - tickMs
    const [timesNow, idleNow] = [times.read(), performance.eventLoopUtilization()]
    const ranMs = timesNow.runMs - runMs
    const activeMs = idleNow.active - idle.active
    const ownMs = Math.max(ranMs, activeMs - (timesNow.waitMs - waitMs))
    latestMs = Math.max(latestMs, lateMs)
    longestMs = Math.max(longestMs, Math.min(lateMs, ownMs))
    ;[at, idle] = [now, idleNow]
    ;({ runMs, waitMs } = timesNow)
  }, tickMs)
  return {
    stop: () => {
      clearInterval(timer)
      times.close()
      return { longestMs, latestMs }
    },
  }
}

/** Of the calling thread, by a file that is read again and again. */
function openThreadTimes(): { read(): ThreadTimes; close(): void } {
  const file = openSync('/proc/thread-self/schedstat', 'r')
  const buffer = Buffer.alloc(64)
  return {
    read: () => {
      const length = readSync(file, buffer, 0, buffer.length, 0)
      const [, wait = 0] = buffer.toString('latin1', 0, length).split(' ').map(Number)
      // The kernel's own sum of what ran lags by its tick; the clock of the thread does not.
      const { user, system } = process.threadCpuUsage()
      return { runMs: (user + system) / 1e3, waitMs: wait / 1e6 }
    },
    close: () => closeSync(file),
  }
}
