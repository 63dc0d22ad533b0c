import type { KubeClient, KubeRequest } from '../../src/kube/client.ts'
import { KubeApiError } from '../../src/kube/errors.ts'

/** What becomes of the write at which the connection is cut. */
export type Cut = 'unsent' | 'unanswered'

export interface CuttingOptions {
  readonly client: KubeClient
  /** The write that is the last, counted from 1; infinity: there is none. */
  readonly at: number
  readonly cut: Cut
  readonly onCut: () => void
}

export interface CuttingClient extends KubeClient {
  /** Writes that were asked for so far. */
  readonly writes: number
}

/**
 * A way to the API server that breaks at its n-th write, for good: that write never arrives, or arrives and its answer does
 * not, and of what comes after nothing gets through, reads neither. A dry run is no write.
 */
export function cuttingClient({ client, at, cut, onCut }: CuttingOptions): CuttingClient {
  const line = new AbortController()
  let writes = 0
  const broken = (): KubeApiError =>
    new KubeApiError({ status: 0, reason: 'Broken', message: 'the connection was cut' })
  const pass = async <T>(
    request: KubeRequest,
    send: (request: KubeRequest) => Promise<T>,
  ): Promise<T> => {
    if (line.signal.aborted) throw broken()
    const through = (): Promise<T> =>
      send({ ...request, signal: AbortSignal.any([request.signal, line.signal]) })
    if (!isWrite(request)) return await through()
    writes += 1
    if (writes < at) return await through()
    // What arrives is carried out, whoever hangs up meanwhile.
    if (cut === 'unanswered' && writes === at) {
      await send({ ...request, signal: new AbortController().signal }).catch(() => undefined)
    }
    line.abort(broken())
    onCut()
    throw broken()
  }
  return {
    server: client.server,
    namespace: client.namespace,
    get writes() {
      return writes
    },
    request: (request) => pass(request, (each) => client.request(each)),
    raw: (request) => pass(request, (each) => client.raw(each)),
    stream: (request, sink) => pass(request, (each) => client.stream(each, sink)),
    close: () => client.close(),
  }
}

/** Questions about rights are asked by POST too. */
function isWrite({ method, query, path }: KubeRequest): boolean {
  return method !== 'GET' && query?.dryRun === undefined && !path.includes('/authorization.k8s.io/')
}
