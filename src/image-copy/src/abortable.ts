/** What tells work to stop: the caller's signal, or a {@link Stop} below it. */
export type StopSignal = (AbortSignal & { readonly callbacks?: undefined }) | Stop

/**
 * Stops the work for one image, blob or connection: when a signal above it aborts, or by itself.
 *
 * In place of AbortController, which with its one listener takes longer than a small request.
 */
export class Stop {
  readonly #above: readonly StopSignal[]
  /** For {@link onAbort}. */
  readonly callbacks: (() => void)[] = []
  /** Set by {@link abort} only, as the next; read for each request, and so no getters. */
  aborted = false
  reason: unknown

  /** @param above followed until {@link end} */
  constructor(...above: readonly StopSignal[]) {
    this.#above = above
    for (const signal of above) {
      onAbort(signal, this.#follow)
      if (signal.aborted) this.#follow()
    }
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  /** The first call counts. */
  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    callAll(this.callbacks)
  }

  /** Follows the signals above no longer: the work is over. */
  end(): void {
    for (const signal of this.#above) offAbort(signal, this.#follow)
  }

  readonly #follow = (): void => {
    this.abort(this.#above.find(({ aborted }) => aborted)?.reason)
  }
}

/**
 * What is called when a caller's signal aborts: one listener a signal, since adding and removing one costs as much as a small
 * request. In arrays, because V8 links each table of a Set to the larger or smaller one that took its place: of a Set that
 * changes for each request, all tables since the last full collection stay, with all that was ever in them.
 */
const waiting = new WeakMap<AbortSignal, (() => void)[]>()

/** Calls `callback` when the signal aborts, which it has not yet; until {@link offAbort}. */
export function onAbort(signal: StopSignal, callback: () => void): void {
  const callbacks = signal.callbacks ?? callbacksOf(signal)
  callbacks.push(callback)
}

/** Takes back an {@link onAbort}. */
export function offAbort(signal: StopSignal, callback: () => void): void {
  const callbacks = signal.callbacks ?? callbacksOf(signal)
  // The last one is mostly the first to go.
  if (callbacks[callbacks.length - 1] === callback) {
    callbacks.pop()
    return
  }
  const at = callbacks.lastIndexOf(callback)
  if (at >= 0) callbacks.splice(at, 1)
}

function callbacksOf(signal: AbortSignal): (() => void)[] {
  let callbacks = waiting.get(signal)
  if (callbacks === undefined) {
    const all: (() => void)[] = []
    signal.addEventListener('abort', () => callAll(all))
    waiting.set(signal, all)
    callbacks = all
  }
  return callbacks
}

/** What one of them takes back is not called. */
function callAll(callbacks: (() => void)[]): void {
  for (let call = callbacks.shift(); call !== undefined; call = callbacks.shift()) call()
}

/** A signal for those who know no {@link Stop}. */
export function abortSignalOf(signal: StopSignal): AbortSignal {
  if (!(signal instanceof Stop)) return signal
  const controller = new AbortController()
  onAbort(signal, () => controller.abort(signal.reason))
  if (signal.aborted) controller.abort(signal.reason)
  return controller.signal
}

/** Waits for a promise as long as the signal lets it. What the promise stands for goes on. @throws the signal's reason */
export async function abortable<T>(promise: Promise<T>, signal: StopSignal): Promise<T> {
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
