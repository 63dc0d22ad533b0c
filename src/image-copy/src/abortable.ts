/** What is called when a signal aborts: one listener a signal, since adding and removing one costs as much as a small request. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `callback` when the signal aborts, which it has not yet; until {@link offAbort}. */
export function onAbort(signal: AbortSignal, callback: () => void): void {
  let callbacks = waiting.get(signal)
  if (callbacks === undefined) {
    const all = new Set<() => void>()
    signal.addEventListener('abort', () => {
      for (const call of all) call()
    })
    waiting.set(signal, all)
    callbacks = all
  }
  callbacks.add(callback)
}

/** Takes back an {@link onAbort}. */
export function offAbort(signal: AbortSignal, callback: () => void): void {
  waiting.get(signal)?.delete(callback)
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
