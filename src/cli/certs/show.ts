import { connect as connectTls } from 'node:tls'
import { describeIdentity, type IdentityDescription } from '../../../certs/describe.ts'
import { CertificateError } from '../../../certs/errors.ts'
import { readFolder } from '../../../certs/file-source.ts'
import type { ServingIdentity, StoredIdentity } from '../../../certs/identity.ts'
import { readSecret, servingOf } from '../../../certs/secret.ts'
import { secretName, servingNames } from '../../../certs/secret-source.ts'
import { configurationName, configurations, trustedBundle } from '../../../certs/trusted-bundle.ts'
import type { Settings } from '../../config/settings.ts'
import { getObject } from '../../kube/apply.ts'
import type { KubeClient } from '../../kube/client.ts'
import { unlessForbidden } from '../../kube/errors.ts'
import { resourceOf } from '../../kube/resource.ts'
import type { MutatingWebhookConfiguration, Secret } from '../../kube/types.ts'

export interface ShowOptions {
  readonly settings: Pick<Settings, 'namespace' | 'admission'>
  readonly client: KubeClient
  /** `host:port` of a server to ask what it serves. */
  readonly connect?: string | undefined
  /** Unix ms. */
  readonly now: number
  readonly signal: AbortSignal
}

/** What `kip certs` shows, and prints with `--output json`. */
export interface CertsReport extends IdentityDescription {
  /** Where it is kept. */
  readonly place: string
  /** Whether there is a webhook configuration, by which API servers check it. */
  readonly registered: 'yes' | 'no' | 'unknown'
}

/**
 * Reads the webhook's certificate where the settings say it is kept, and what API servers check it by.
 *
 * @throws CertificateError when there is none, or none that can be served.
 */
export async function reportOnCertificate(options: ShowOptions): Promise<CertsReport> {
  const { settings, client, connect, now, signal } = options
  const { identity, own, place } = await readIdentity(settings, client, signal)
  const configuration = await readConfiguration(client, signal)
  const description = describeIdentity({
    identity,
    ...(own && { own }),
    names: namesOf(settings),
    trusted: typeof configuration === 'object' ? trustedBundle(configuration) : undefined,
    now,
  })
  const faults = [...description.faults]
  if (connect !== undefined) {
    const served = await servedBy(connect, signal)
    if (served !== description.served.fingerprint) {
      faults.push(`${connect} serves another certificate, SHA-256 ${served}`)
    }
  }
  const registered = typeof configuration === 'object' ? 'yes' : configuration
  return { place, registered, ...description, faults }
}

/** The name by which API servers call, of all that kip's own certificate stands for. */
function namesOf({ namespace, admission }: ShowOptions['settings']): readonly string[] {
  const names = servingNames({ ...admission, namespace })
  const called = admission.url === '' ? names[0] : names.at(-1)
  return called === undefined ? [] : [called]
}

interface Read {
  readonly identity: ServingIdentity
  readonly own?: StoredIdentity
  readonly place: string
}

async function readIdentity(
  { namespace, admission }: ShowOptions['settings'],
  client: KubeClient,
  signal: AbortSignal,
): Promise<Read> {
  const { certificate, certificateFolder: folder } = admission
  if (certificate === 'files') {
    return { identity: await readFolder(folder, signal), place: `folder ${folder}` }
  }
  const place = `secret ${namespace}/${secretName}`
  const secrets = resourceOf('secrets', namespace)
  const secret = await getObject<Secret>(client, secrets, secretName, { signal })
  const content = secret && readSecret(secret, { provided: certificate === 'secret' })
  if (content?.kind === 'provided') return { identity: content.identity, place }
  if (content?.kind === 'own') {
    return { identity: servingOf(content.identity), own: content.identity, place }
  }
  throw new CertificateError('KIP_CERTS_INVALID', `${place} is missing or empty`)
}

/** `unknown`: it may not be read. */
async function readConfiguration(
  client: KubeClient,
  signal: AbortSignal,
): Promise<MutatingWebhookConfiguration | 'no' | 'unknown'> {
  const reading = getObject<MutatingWebhookConfiguration>(
    client,
    configurations,
    configurationName,
    { signal },
  )
  return (await unlessForbidden(reading, 'unknown')) ?? 'no'
}

const connectTimeoutMs = 10_000

/** Fingerprint of the certificate that a server shows, whoever signed it. */
async function servedBy(address: string, signal: AbortSignal): Promise<string> {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? []
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  // Nothing is sent: whoever it is, it only shows its certificate.
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false })
  const limit = AbortSignal.any([signal, AbortSignal.timeout(connectTimeoutMs)])
  const give = () => socket.destroy(new Error(`${address}: no answer`, { cause: limit.reason }))
  limit.addEventListener('abort', give, { once: true })
  socket.once('error', reject)
  socket.once('secureConnect', () =>
    resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? 'none'),
  )
  try {
    return await promise
  } finally {
    limit.removeEventListener('abort', give)
    socket.destroy()
  }
}
