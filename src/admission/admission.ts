import type { Server } from 'node:https'
import type { FastifyInstance } from 'fastify'
import type { ServingPair } from '../../certs/identity.ts'
import type { CertificateSource } from '../../certs/source.ts'
import type { Settings } from '../config/settings.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Exclusions } from '../state/exclusions.ts'
import type { FlaggedWorkloads } from '../state/flagged-workloads.ts'
import type { PullSecrets } from '../state/pull-secrets.ts'
import type { StoppedOwners } from '../state/stopped-owners.ts'
import type { ImageStore } from '../state/store.ts'
import { admissionMetrics } from './admission-metrics.ts'
import { createHandler, type HandlerOptions } from './handler.ts'
import { defaultLimits, type ServerLimits } from './limits.ts'
import { buildServer, secureContext } from './server.ts'
import { reviewPath } from './webhook-configuration.ts'

export interface AdmissionOptions
  extends Pick<HandlerOptions, 'mapping' | 'log' | 'sight' | 'canChangePolicy'> {
  readonly store: Pick<ImageStore, 'get' | 'synced'>
  readonly exclusions: Pick<Exclusions, 'excluded' | 'synced'>
  /** Absent: a workload's own flag does not count, only those of its pods. */
  readonly workloads?: Pick<FlaggedWorkloads, 'ownsPod' | 'synced'>
  /** Absent: rewriting is stopped for nobody. */
  readonly stopped?: Pick<StoppedOwners, 'has' | 'synced'> | undefined
  /** Absent: copies are pulled without a secret. */
  readonly pullSecret?: Pick<PullSecrets, 'name' | 'in' | 'synced'> | undefined
  readonly settings: Pick<Settings, 'admission' | 'mirror' | 'puller'>
  /** Run by the caller. */
  readonly certificates: Pick<CertificateSource, 'loaded' | 'current' | 'onChange'>
  readonly metrics: Metrics
  readonly limits?: Partial<ServerLimits>
}

export interface Admission {
  /**
   * Serves from when there is a certificate and the state is known: an answer before that would leave pods unrewritten.
   *
   * @returns The port; 0 when it was closed first.
   * @throws the listener's error, such as EADDRINUSE.
   */
  start(): Promise<{ readonly port: number }>
  /** `waiting`: one line for each thing that is still waited for before it serves. */
  ready(): { readonly ok: boolean; readonly waiting: readonly string[] }
  /** Answers what is in flight and ends all connections, within five seconds; again and again is once. */
  close(): Promise<void>
}

/** The webhook: pods on their way into the cluster are pointed at verified copies, from memory alone. */
export function createAdmission(options: AdmissionOptions): Admission {
  const { store, exclusions, workloads, stopped, pullSecret, certificates, log, settings } = options
  const limits = { ...defaultLimits, ...options.limits }
  const metrics = admissionMetrics(options.metrics)
  const handler = createHandler({ ...options, metrics })
  const pending = new Set<string>(['webhook: listening'])
  const closing = Promise.withResolvers<void>()
  let app: FastifyInstance<Server> | undefined
  let closed: Promise<void> | undefined

  /** New connections get the new certificate, open ones go on. A pair that does not fit leaves the old one in place. */
  function reload(server: Server, pair: ServingPair): void {
    try {
      server.setSecureContext(secureContext(pair))
      metrics.reload('ok')
    } catch (err) {
      metrics.reload('error')
      log.error({ err }, 'webhook certificate refused, the one before is still served')
    }
  }

  async function waitFor(name: string, done: Promise<unknown>): Promise<void> {
    pending.add(name)
    await Promise.race([done, closing.promise])
    pending.delete(name)
  }

  return {
    async start() {
      await Promise.all([
        waitFor('webhook: certificate', certificates.loaded),
        waitFor('webhook: images', store.synced),
        waitFor('webhook: namespaces', exclusions.synced),
        waitFor('webhook: flagged workloads', workloads?.synced ?? Promise.resolve()),
        waitFor('webhook: stopped owners', stopped?.synced ?? Promise.resolve()),
        waitFor('webhook: pull secrets', pullSecret?.synced ?? Promise.resolve()),
      ])
      const pair = certificates.current()
      if (closed !== undefined || pair === undefined) return { port: 0 }
      const onFault = (err: unknown): void => log.error({ err }, 'webhook server failed')
      const path = reviewPath(settings.admission)
      const server = buildServer({ path, handler, pair, metrics, limits, onFault })
      app = server
      const unfollow = certificates.onChange((identity) => reload(server.server, identity))
      server.addHook('onClose', (_instance, done) => {
        unfollow()
        done()
      })
      try {
        const port = await listen(server, settings.admission)
        pending.delete('webhook: listening')
        log.info({ port }, 'webhook serves')
        return { port }
      } catch (error) {
        if (closed === undefined) throw error
        return { port: 0 }
      }
    },
    ready: () => ({ ok: pending.size === 0, waiting: [...pending] }),
    close() {
      closing.resolve()
      pending.add('webhook: listening')
      closed ??= app?.close() ?? Promise.resolve()
      return closed
    },
  }
}

const loopback = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** On all addresses, of both families where the host has both; a URL on this very machine needs no more than that. */
async function listen(
  app: FastifyInstance<Server>,
  { port, url }: { readonly port: number; readonly url: string },
): Promise<number> {
  const host = url === '' ? '' : new URL(url).hostname
  if (loopback.has(host)) {
    await app.listen({ port, host: host.replace(/^\[|\]$/g, '') })
  } else {
    await app.listen({ port, host: '::' }).catch(async (error: unknown) => {
      if (!lacksIpv6(error)) throw error
      await app.listen({ port, host: '0.0.0.0' })
    })
  }
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

function lacksIpv6(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'
}
