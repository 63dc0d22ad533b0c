import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { ServingPair } from '../../certs/identity.ts'
import { withoutSchemas } from '../metrics/without-schemas.ts'
import type { AdmissionMetrics } from './admission-metrics.ts'
import { ReviewError } from './errors.ts'
import type { Handler } from './handler.ts'
import type { ServerLimits } from './limits.ts'

export interface ServerOptions {
  /** Where reviews are posted to. */
  readonly path: string
  readonly handler: Handler
  readonly pair: ServingPair
  readonly metrics: AdmissionMetrics
  readonly limits: ServerLimits
  /** Told of what should not happen: an error that is nobody's bad request. */
  readonly onFault: (error: unknown) => void
}

type App = FastifyInstance<Server>

/** What of the TLS server a new certificate changes, with what must not change along. */
export function secureContext({ certificate, key }: ServingPair): {
  cert: string
  key: string
  minVersion: 'TLSv1.2'
} {
  return { cert: certificate, key, minVersion: 'TLSv1.2' }
}

/**
 * Builds the webhook's server, without listening: `POST` of reviews over TLS and HTTP/1.1.
 *
 * HTTP/2 is not offered: it costs more here, and one connection of it ties an API server to one replica.
 */
export function buildServer(options: ServerOptions): App {
  const { path, handler, pair, metrics, limits, onFault } = options
  const app: App = fastify({
    ...withoutSchemas,
    https: {
      ...secureContext(pair),
      handshakeTimeout: limits.handshakeMs,
      headersTimeout: limits.headersMs,
      // Node looks for late requests this often, by default every 30 s.
      connectionsCheckingInterval: Math.min(2_500, limits.headersMs),
    },
    bodyLimit: limits.body,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    // A key named __proto__ is the pod's business; it is dropped, not followed.
    onProtoPoisoning: 'remove',
    onConstructorPoisoning: 'remove',
    // While closing, requests on open connections are answered: to the API server a 503 is a failed webhook.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
  })
  app.server.maxConnections = limits.connections
  app.removeContentTypeParser('text/plain')
  drainOnClose(app, limits)
  const inFlight = countInFlight(app, metrics)

  app.post(path, (request, reply) => {
    reply.send(handler(request.body, inFlight() > limits.inFlight))
  })
  app.setNotFoundHandler((request: FastifyRequest, reply: FastifyReply) => {
    const status = request.url.split('?', 1)[0] === path ? 405 : 404
    if (status === 405) reply.header('allow', 'POST')
    metrics.refused(status)
    const message = `reviews are posted to ${path}`
    reply.code(status).send({ code: 'KIP_ADMISSION_NO_ROUTE', message })
  })
  app.setErrorHandler((error, _request, reply) => {
    const { status, code, message } = describeFailure(error)
    if (status >= 500) onFault(error)
    metrics.refused(status)
    reply.code(status).send({ code, message })
  })
  return app
}

/** Time for a request that crosses the begin of a close: by then its headers are here. */
const crossingMs = 500

/**
 * Has a close answer what is in flight, and end within its time.
 *
 * At first every client that asks is told to leave, while nothing is ended yet: see `leaveMs`. What Node leaves open would
 * hold up the rest: a kept-alive connection that was busy when the close began, one that has not been used yet (Go's client
 * keeps such ones), and one whose handshake or request never ends.
 */
function drainOnClose(app: App, { leaveMs, closeMs }: ServerLimits): void {
  const sockets = new Set<Socket>()
  const unused = new Set<Socket>()
  const timers: NodeJS.Timeout[] = []
  const allLeft = Promise.withResolvers<void>()
  let isClosing = false
  const left = (): void => {
    if (isClosing && sockets.size === 0) allLeft.resolve()
  }
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      left()
    })
  })
  app.server.on('secureConnection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  app.server.on('request', ({ socket }: { socket: Socket }) => unused.delete(socket))
  app.addHook('preClose', async () => {
    isClosing = true
    left()
    timers.push(setTimeout(allLeft.resolve, leaveMs))
    await allLeft.promise
    for (const [set, ms] of [
      [unused, Math.min(crossingMs, closeMs)],
      [sockets, closeMs],
    ] as const) {
      timers.push(
        setTimeout(() => {
          for (const socket of set) socket.destroy()
        }, ms),
      )
    }
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done(null, payload)
  })
  app.server.once('close', () => {
    for (const timer of timers) clearTimeout(timer)
  })
}

function countInFlight(app: App, metrics: AdmissionMetrics): () => number {
  let count = 0
  app.addHook('onRequest', (_request, reply, done) => {
    metrics.inFlight(++count)
    // Also when the client went away, where there is no response to hook on.
    reply.raw.once('close', () => {
      metrics.inFlight(--count)
      metrics.seconds(reply.elapsedTime / 1000)
    })
    done()
  })
  return () => count
}

function describeFailure(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof ReviewError) {
    return { status: error.statusCode, code: error.code, message: error.message }
  }
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    const { statusCode: status, message } = error
    if (status >= 400 && status < 500) return { status, code: 'KIP_ADMISSION_REQUEST', message }
  }
  return { status: 500, code: 'KIP_ADMISSION_FAULT', message: 'internal error' }
}
