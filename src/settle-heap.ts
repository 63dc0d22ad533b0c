import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** By then a replica has read its first lists, and left behind what reading them and starting took. */
const SETTLED_MS = 5_000

/**
 * Gives what the start left behind back to the system, once: some 8 MiB, which V8 would keep until it had allocated as much
 * anew, in a replica with nothing to do for hours.
 *
 * @param afterMs default: 5 s, for which the signal may break it off
 */
export async function settleHeap(signal: AbortSignal, afterMs: number = SETTLED_MS): Promise<void> {
  try {
    await sleep(afterMs, undefined, { signal })
  } catch {
    return
  }
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  if (typeof collect === 'function') collect({ type: 'major', flavor: 'last-resort' })
}
