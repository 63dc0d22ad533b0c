/**
 * What is called when a signal aborts: one listener a signal, since adding and removing one costs as much as a small request.
 * In arrays, because V8 links each table of a Set to the larger or smaller one that took its place: of a Set that changes for
 * each request, all tables since the last full collection stay, with all that was ever in them.
 */
const waiting = new WeakMap<AbortSignal, (() => void)[]>()

/** Calls `callback` when the signal aborts, which it has not yet; until {@link offAbort}. */
export function onAbort(signal: AbortSignal, callback: () => void): void {
  let callbacks = waiting.get(signal)
  if (callbacks === undefined) {
    const all: (() => void)[] = []
    signal.addEventListener('abort', () => {
      for (let call = all.shift(); call !== undefined; call = all.shift()) call()
    })
    waiting.set(signal, all)
    callbacks = all
  }
  callbacks.push(callback)
}

/** Takes back an {@link onAbort}. */
export function offAbort(signal: AbortSignal, callback: () => void): void {
  const callbacks = waiting.get(signal)
  const at = callbacks?.lastIndexOf(callback) ?? -1
  if (at >= 0) callbacks?.splice(at, 1)
}

/** Waits for a promise as long as the signal lets it. What the promise stands for goes on. @throws the signal's reason */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const give = (): void => aborted.reject(signal.reason)
  onAbort(signal, give)
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    offAbort(signal, give)
  }
}
