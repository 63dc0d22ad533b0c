import type { Secret } from '../src/kube/types.ts'
import { CertificateError } from './errors.ts'
import { bundleOf, type ServingIdentity, type StoredIdentity } from './identity.ts'
import { checkPair, readCertificate, readCertificates, readKey } from './pem.ts'

/**
 * What a Secret holds.
 *
 * `own`: an identity that kip made and looks after. `provided`: a pair that somebody else put there (a user, or
 * cert-manager), which is served as it is and never written. `empty`: nothing yet, kip may fill it.
 */
export type SecretContent =
  | { readonly kind: 'own'; readonly identity: StoredIdentity }
  | { readonly kind: 'provided'; readonly identity: ServingIdentity }
  | { readonly kind: 'empty' }

/** Keys of the Secret; the first three are those of kubernetes.io/tls and of cert-manager. */
const keys = {
  certificate: 'tls.crt',
  key: 'tls.key',
  bundle: 'ca.crt',
  signerKey: 'ca.key',
  nextKey: 'ca-next.key',
} as const

const managedBy = { 'app.kubernetes.io/managed-by': 'kip' } as const

/**
 * Reads a Secret; it is kip's own when it holds the key of an authority.
 *
 * @param options.provided Somebody else fills it, whatever key is left in it from when kip did.
 * @throws CertificateError when it holds something, but nothing that can be served; the message names the key.
 */
export function readSecret(
  secret: Secret,
  { provided = false }: { readonly provided?: boolean } = {},
): SecretContent {
  const { namespace = '', name = '' } = secret.metadata ?? {}
  const what = (key: string): string => `${key} of secret ${namespace}/${name}`
  const read = (key: string): string =>
    Buffer.from(secret.data?.[key] ?? '', 'base64')
      .toString()
      .trim()

  const serving = { certificate: read(keys.certificate), key: read(keys.key) }
  const signerKey = provided ? '' : read(keys.signerKey)
  if (serving.certificate === '' && serving.key === '' && signerKey === '') return { kind: 'empty' }
  checkPair(serving.certificate, serving.key, what(`${keys.certificate} and ${keys.key}`))

  const bundle = read(keys.bundle)
  if (signerKey === '') return { kind: 'provided', identity: { ...serving, bundle } }

  const authorities = readCertificates(bundle, what(keys.bundle))
  const nextKey = read(keys.nextKey)
  const signer = authorities.find((ca) =>
    ca.checkPrivateKey(readKey(signerKey, what(keys.signerKey))),
  )
  if (signer === undefined) {
    const message = `${what(keys.bundle)}: no certificate in it belongs to ${keys.signerKey}`
    throw new CertificateError('KIP_CERTS_MISMATCH', message)
  }
  const next =
    nextKey === ''
      ? undefined
      : authorities.find((ca) => ca.checkPrivateKey(readKey(nextKey, what(keys.nextKey))))
  const pem = (ca: { toString(): string }): string => ca.toString().trim()
  return {
    kind: 'own',
    identity: {
      signer: { certificate: pem(signer), key: signerKey },
      ...(next !== undefined && { next: { certificate: pem(next), key: nextKey } }),
      retired: authorities.filter((ca) => ca !== signer && ca !== next).map(pem),
      serving,
    },
  }
}

/**
 * Builds the Secret of an identity of kip's own.
 *
 * @param previous The Secret to replace, whose metadata, type and foreign keys stay; absent: a new one.
 */
export function secretOf(
  identity: StoredIdentity,
  place: { readonly namespace: string; readonly name: string },
  previous?: Secret,
): Secret {
  const { [keys.nextKey]: _, ...kept } = previous?.data ?? {}
  const base64 = (text: string): string => Buffer.from(`${text}\n`).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      ...previous?.metadata,
      ...place,
      labels: { ...previous?.metadata?.labels, ...managedBy },
    },
    // The type of a Secret cannot be changed.
    type: previous?.type ?? 'kubernetes.io/tls',
    data: {
      ...kept,
      [keys.certificate]: base64(identity.serving.certificate),
      [keys.key]: base64(identity.serving.key),
      [keys.bundle]: base64(bundleOf(identity)),
      [keys.signerKey]: base64(identity.signer.key),
      ...(identity.next !== undefined && { [keys.nextKey]: base64(identity.next.key) }),
    },
  }
}

/** The served part of an identity of kip's own. */
export function servingOf(identity: StoredIdentity): ServingIdentity {
  return { ...identity.serving, bundle: bundleOf(identity) }
}

/** When a served certificate ends, Unix ms. */
export function endOf(identity: ServingIdentity): number {
  return readCertificate(identity.certificate, 'serving certificate').validToDate.getTime()
}
