import type { KubeClient, KubeRequest, RawAnswer, StreamSink } from './client.ts'
import { KubeApiError } from './errors.ts'

/** A time in which this process may write; `lease-lock`'s terms are such. */
export interface WriteTerm {
  /** Whether it lasts; compares clocks at each call. */
  holds(): boolean
  /** Fencing token; the API server's audit log has it in the user agent of every write. */
  readonly token: string
  /** Aborts when the term ends, and with it the writes under way. */
  readonly signal: AbortSignal
}

/** A client whose writes go out only while a term lasts. */
export interface GuardedClient extends KubeClient {
  /** The term that began; undefined: none any more. */
  enter(term: WriteTerm | undefined): void
}

/**
 * Guards the writes of a leader: each belongs to the term in which it was asked for, is refused (`NotLeading`) if that
 * term is over when its first byte is about to go out, and is aborted when it ends. Reads pass.
 *
 * What has left the machine is out of reach; for that, writes bear the uid or resourceVersion that they were computed
 * from, and creations are of names that any leader would choose.
 */
export function guardWrites(client: KubeClient): GuardedClient {
  let current: WriteTerm | undefined

  async function guarded<T>(
    request: KubeRequest,
    send: (request: KubeRequest) => Promise<T>,
  ): Promise<T> {
    if (request.method === 'GET') return await send(request)
    const term = current
    const check = (): void => {
      if (term?.holds() === true) return
      throw new KubeApiError({
        status: 0,
        reason: 'NotLeading',
        message: `${request.method} ${request.path}: not sent, another may lead by now`,
      })
    }
    check()
    return await send({
      ...request,
      signal: term === undefined ? request.signal : AbortSignal.any([request.signal, term.signal]),
      beforeSending: check,
      remark: `term ${term?.token}`,
    })
  }

  return {
    server: client.server,
    namespace: client.namespace,
    enter: (term) => {
      current = term
    },
    request: <T>(request: KubeRequest) => guarded<T>(request, (each) => client.request<T>(each)),
    raw: (request: KubeRequest): Promise<RawAnswer> => guarded(request, (each) => client.raw(each)),
    stream: (request: KubeRequest, sink: StreamSink): Promise<void> =>
      guarded(request, (each) => client.stream(each, sink)),
    close: () => client.close(),
  }
}
