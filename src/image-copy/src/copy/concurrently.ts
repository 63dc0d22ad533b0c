import { Stop } from '../abortable.ts'
import type { Context } from '../registry/context.ts'

/**
 * Why the others were stopped. Not the failure itself, which what they share with work beside this one (windows of a host,
 * tokens) would take for its own. One for all: it tells nothing. Work that waits for what another stopped may fail of it for a
 * while, until that one's own failure comes.
 */
const stopped = new Error('something else of the same work failed')

/**
 * Runs `work` for each item, at most `limit` at a time, in order of start. The first failure stops the others through their
 * signal, and is thrown when all have ended.
 */
export async function concurrently<T>(
  items: readonly T[],
  limit: number,
  context: Context,
  work: (item: T, context: Context) => Promise<void>,
): Promise<void> {
  const stop = new Stop(context.signal)
  const inner = { ...context, signal: stop }
  let failure: { readonly error: unknown } | undefined
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length && !stop.aborted) {
      const item = items[next] as T
      next += 1
      try {
        await work(item, inner)
      } catch (error) {
        if (failure === undefined || failure.error === stopped) failure = { error }
        stop.abort(stopped)
      }
    }
  }
  try {
    context.signal.throwIfAborted()
    const lanes: Promise<void>[] = []
    while (lanes.length < Math.min(limit, items.length)) lanes.push(lane())
    await Promise.all(lanes)
    context.signal.throwIfAborted()
  } finally {
    stop.end()
  }
  if (failure !== undefined) throw failure.error
}
