import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'

export interface ExchangeOptions {
  readonly dispatcher: Dispatcher
  readonly request: Dispatcher.DispatchOptions
  readonly signal: AbortSignal
  /** Called when a connection is there, before anything is sent; what it throws ends the exchange. */
  readonly beforeSending?: (() => void) | undefined
  /**
   * Called when the answer begins; returns where its body goes, chunk by chunk. A chunk is a view of what the socket read. When
   * either throws, the exchange ends with that error.
   */
  readonly onHead: (status: number, headers: IncomingHttpHeaders) => (chunk: Buffer) => void
}

/** What is waiting is handed on for so long; then everybody else has a turn. Long against a turn, short against a webhook's answer. */
const sliceMs = 5

/**
 * Sends one request; resolves when the whole answer was handed on.
 *
 * A watch sends each event in HTTP chunks of its own. They are handed on where they are parsed: between streams and iterators
 * each would cost more than reading the pod in it. A server that sends faster than the chunks are taken would never let go of the
 * event loop: libuv reads two mebibytes before it looks at anybody else.
 */
export function exchange(options: ExchangeOptions): Promise<void> {
  const { dispatcher, request, signal, beforeSending, onHead } = options
  return new Promise((resolve, reject) => {
    let abort: ((reason: Error) => void) | undefined
    const onAbort = (): void => {
      reject(signal.reason)
      abort?.(signal.reason)
    }
    const finish = (end: () => void): void => {
      signal.removeEventListener('abort', onAbort)
      end()
    }
    signal.throwIfAborted()
    signal.addEventListener('abort', onAbort, { once: true })
    let onChunk: ((chunk: Buffer) => void) | undefined
    /** When the turn of the event loop began in which chunks are handed on; undefined: none were yet. */
    let turnAt: number | undefined
    const handOn = (controller: Dispatcher.DispatchController, chunk: Buffer): void => {
      if (turnAt === undefined) {
        turnAt = performance.now()
        setImmediate(() => {
          turnAt = undefined
          controller.resume()
        })
      }
      onChunk?.(chunk)
      if (performance.now() - turnAt > sliceMs) controller.pause()
    }
    dispatcher.dispatch(request, {
      onRequestStart(controller) {
        abort = (reason) => controller.abort(reason)
        if (signal.aborted) controller.abort(signal.reason)
        else beforeSending?.()
      },
      onResponseStart(_controller, status, headers) {
        // What goes before an answer (100, 103) is none.
        if (status >= 200) onChunk = onHead(status, headers)
      },
      onResponseData: handOn,
      onResponseEnd: () => finish(resolve),
      onResponseError: (_controller, error) => finish(() => reject(error)),
    })
  })
}
