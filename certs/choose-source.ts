import type { Settings } from '../src/config/settings.ts'
import type { KubeClient } from '../src/kube/client.ts'
import type { Log } from '../src/kube/log.ts'
import type { Metrics } from '../src/metrics/metrics.ts'
import { createFileSource } from './file-source.ts'
import { createSecretSource, servingNames } from './secret-source.ts'
import type { CertificateSource } from './source.ts'

export interface ChooseSourceOptions {
  readonly settings: Pick<Settings, 'namespace' | 'admission'>
  readonly client: KubeClient
  readonly log: Log
  readonly metrics: Metrics
}

/** Makes the source of the webhook's identity that the settings name. */
export function createCertificateSource(options: ChooseSourceOptions): CertificateSource {
  const { settings, client, log, metrics } = options
  const { certificate, certificateFolder: folder } = settings.admission
  if (certificate === 'files') return createFileSource({ folder, log, metrics })
  return createSecretSource({
    client,
    namespace: settings.namespace,
    names: servingNames({ ...settings.admission, namespace: settings.namespace }),
    provided: certificate === 'secret',
    log,
    metrics,
  })
}
