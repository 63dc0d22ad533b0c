import { once } from 'node:events'
import { createServer } from 'node:net'
import { createFileSource } from '../../certs/file-source.ts'
import type { Lifetimes } from '../../certs/lifetimes.ts'
import { createSecretSource, servingNames } from '../../certs/secret-source.ts'
import type { CertificateSource } from '../../certs/source.ts'
import {
  type Admission,
  type AdmissionOptions,
  createAdmission,
} from '../../src/admission/admission.ts'
import { keepWebhookConfiguration } from '../../src/admission/configuration-keeper.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { Settings } from '../../src/config/settings.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts'
import { createExclusions, type Exclusions } from '../../src/state/exclusions.ts'
import { mapping, mirrored, registry, storeOf } from './admission-world.ts'
import { silentLog } from './silent-log.ts'

/** One webhook on this machine, which a real API server calls by URL; the state that it answers from is made up. */
export interface WebhookBed {
  readonly settings: Settings
  readonly metrics: Metrics
  readonly certificates: CertificateSource
  /** `namespace reference` */
  readonly sighted: readonly string[]
  readonly port: number
  start(): Promise<void>
  stop(): Promise<void>
  close(): Promise<void>
}

export interface WebhookBedOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly lifetimes?: Lifetimes
  readonly pollMs?: number
  /** Unix ms by kip's clock, for what is written into certificates. Default: the machine's. */
  readonly now?: () => number
  /** Settings beyond those that it needs, as environment variables. */
  readonly env?: Readonly<Record<string, string>>
  /** What else admission is to know. */
  readonly also?: Pick<AdmissionOptions, 'stopped' | 'pullSecret' | 'canChangePolicy'>
}

/** Puts together what `kip run` does, as far as admission goes, and runs it until closed. */
export async function webhookBed(options: WebhookBedOptions): Promise<WebhookBed> {
  const { client, namespace } = options
  const port = await freePort()
  const { settings } = loadSettings({
    argv: [],
    env: {
      NAMESPACE: namespace,
      IMAGES: '',
      KIP_MIRROR_REGISTRY: registry,
      KIP_ADMISSION_PORT: `${port}`,
      KIP_ADMISSION_URL: `https://127.0.0.1:${port}`,
      ...options.env,
    },
    readFile: () => {
      throw new Error('no file')
    },
  })
  const log = silentLog()
  const metrics = createMetrics({ processMetrics: false })
  const exclusions: Exclusions = createExclusions({ client, settings, log })
  const { certificate, certificateFolder: folder } = settings.admission
  const polling = { log, metrics, ...(options.pollMs && { pollMs: options.pollMs }) }
  const certificates =
    certificate === 'files'
      ? createFileSource({ ...polling, folder })
      : createSecretSource({
          ...polling,
          client,
          namespace,
          names: servingNames({ ...settings.admission, namespace }),
          provided: certificate === 'secret',
          ...(options.lifetimes && { lifetimes: options.lifetimes }),
          ...(options.now && { now: options.now }),
        })
  const sighted: string[] = []
  const stopping = new AbortController()
  const { signal } = stopping
  let admission: Admission | undefined
  const running = Promise.all([
    exclusions.run(signal),
    certificates.run(signal),
    keepWebhookConfiguration({ client, settings, exclusions, certificates, log, metrics }, signal),
  ])

  async function start(): Promise<void> {
    admission = createAdmission({
      store: { ...storeOf(mirrored('nginx:1'), mirrored('busybox:1')), synced: Promise.resolve() },
      exclusions,
      mapping,
      settings,
      certificates,
      log,
      metrics,
      sight: (reference, where) => sighted.push(`${where} ${reference}`),
      ...options.also,
    })
    await admission.start()
  }
  const stop = async (): Promise<void> => await admission?.close()
  return {
    settings,
    metrics,
    certificates,
    sighted,
    port,
    start,
    stop,
    async close() {
      stopping.abort()
      await running
      await stop()
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}
