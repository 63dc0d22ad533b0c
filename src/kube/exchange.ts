import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { BodyPace } from './body-pace.ts'

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
  /** For how many milliseconds what comes next may be gathered, asked when all that had come is handed on. Default: not at all. */
  readonly restMs?: (() => number) | undefined
}

/**
 * Sends one request; resolves when the whole answer was handed on.
 *
 * A watch sends each event in HTTP chunks of its own. They are handed on where they are parsed: between streams and iterators
 * each would cost more than reading the pod in it.
 */
export function exchange(options: ExchangeOptions): Promise<void> {
  const { dispatcher, request, signal, beforeSending, onHead, restMs } = options
  return new Promise((resolve, reject) => {
    let abort: ((reason: Error) => void) | undefined
    const onAbort = (): void => {
      reject(signal.reason)
      abort?.(signal.reason)
    }
    let pace: BodyPace | undefined
    const finish = (end: () => void): void => {
      pace?.stop()
      signal.removeEventListener('abort', onAbort)
      end()
    }
    signal.throwIfAborted()
    signal.addEventListener('abort', onAbort, { once: true })
    dispatcher.dispatch(request, {
      onRequestStart(controller) {
        abort = (reason) => controller.abort(reason)
        if (signal.aborted) controller.abort(signal.reason)
        else beforeSending?.()
      },
      onResponseStart(_controller, status, headers) {
        // What goes before an answer (100, 103) is none.
        if (status >= 200) pace = new BodyPace({ onChunk: onHead(status, headers), restMs })
      },
      onResponseData: (controller, chunk) => pace?.take(controller, chunk),
      onResponseEnd: () => finish(resolve),
      onResponseError: (_controller, error) => finish(() => reject(error)),
    })
  })
}
