import fastify, { type FastifyInstance } from 'fastify'
import type { Metrics } from './metrics.ts'
import { withoutSchemas } from './without-schemas.ts'

/** Whether the process can do its work, and if not, what it waits for. */
export interface Readiness {
  readonly ok: boolean
  /** One line each, such as `cachedimages: first list`. */
  readonly waiting: readonly string[]
}

export interface StatusServerOptions {
  /** 0: a free one. */
  readonly port: number
  /** Address to listen on; default: every address, of both families where the host has both. */
  readonly host?: string
  readonly metrics: Metrics
  readonly ready: () => Readiness
  /** False: the process is beyond repair and is to be restarted. */
  readonly healthy: () => boolean
}

export interface StatusServer {
  readonly port: number
  /** Ends the requests that are being answered, then the connections. */
  close(): Promise<void>
}

/**
 * Serves `/healthz` (200 or 500), `/readyz` (200, or 503 with what is waited for) and `/metrics` (Prometheus text) by
 * plain http.
 *
 * @throws the listener's error, such as EADDRINUSE.
 */
export async function startStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const app = buildStatusServer(options)
  await listen(app, options)
  const address = app.server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close: () => app.close(),
  }
}

/** The server without a listener, for `inject`. */
export function buildStatusServer(options: Omit<StatusServerOptions, 'port'>): FastifyInstance {
  const app = fastify({
    ...withoutSchemas,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
  })
  let draining = false

  // Without the header a kept-alive connection that was busy at close() holds it up until its time-out.
  app.addHook('preClose', (done) => {
    draining = true
    done()
  })
  app.addHook('onSend', async (_request, reply) => {
    if (draining) reply.header('connection', 'close')
  })

  app.get('/healthz', async (_request, reply) => {
    const ok = options.healthy()
    return reply.code(ok ? 200 : 500).send({ ok })
  })
  app.get('/readyz', async (_request, reply) => {
    const { ok, waiting } = options.ready()
    return reply.code(ok ? 200 : 503).send({ ok, waiting })
  })
  app.get('/metrics', async (_request, reply) => {
    return reply.type(options.metrics.contentType).send(await options.metrics.render())
  })
  return app
}

async function listen(app: FastifyInstance, { port, host }: StatusServerOptions): Promise<void> {
  try {
    await app.listen({ port, host: host ?? '::' })
  } catch (error) {
    if (host !== undefined || !lacksIpv6(error)) throw error
    await app.listen({ port, host: '0.0.0.0' })
  }
}

function lacksIpv6(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'
}
