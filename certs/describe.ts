import type { X509Certificate } from 'node:crypto'
import type { ServingIdentity, StoredIdentity } from './identity.ts'
import { defaultLifetimes, type Lifetimes } from './lifetimes.ts'
import { covers, holds, namesOf, readCertificate, readCertificates } from './pem.ts'
import { lifeOf } from './rotation.ts'

/** One certificate, for people and scripts; times as in ISO 8601. */
export interface CertificateDescription {
  readonly subject: string
  readonly issuer: string
  /** Host names and IP addresses. */
  readonly names: readonly string[]
  /** SHA-256. */
  readonly fingerprint: string
  readonly notBefore: string
  readonly notAfter: string
  /** When kip replaces it; absent where kip does not. */
  readonly replacedFrom?: string
}

/** `signs` what is served, is to sign `next`, did sign (`retired`); `trusted`: it stands in the bundle of somebody else. */
export type AuthorityRole = 'signs' | 'next' | 'retired' | 'trusted'

/** What is served, who signed it, and what is wrong with it. */
export interface IdentityDescription {
  readonly keptBy: 'kip' | 'others'
  readonly served: CertificateDescription
  readonly authorities: readonly (CertificateDescription & { readonly role: AuthorityRole })[]
  /** One line each; empty: API servers can call the webhook. */
  readonly faults: readonly string[]
}

export interface DescribeOptions {
  readonly identity: ServingIdentity
  /** The same in full, where kip keeps it. */
  readonly own?: StoredIdentity
  /** Host names and IP addresses that API servers call. */
  readonly names: readonly string[]
  /** PEM bundle in the webhook configuration; undefined: there is no configuration, or it may not be read. */
  readonly trusted?: string | undefined
  /** Unix ms. */
  readonly now: number
  readonly lifetimes?: Lifetimes
}

/** Describes an identity; pure. */
export function describeIdentity(options: DescribeOptions): IdentityDescription {
  const { identity, own, lifetimes = defaultLifetimes } = options
  const kept = own && lifetimes
  const bundle = identity.bundle === '' ? [] : readCertificates(identity.bundle, 'ca.crt')
  const roleOf = (pem: string): AuthorityRole => {
    if (own === undefined) return 'trusted'
    if (holds(own.signer.certificate, pem)) return 'signs'
    return own.next && holds(own.next.certificate, pem) ? 'next' : 'retired'
  }
  return {
    keptBy: own ? 'kip' : 'others',
    served: describeCertificate(readCertificate(identity.certificate, 'tls.crt'), kept),
    authorities: bundle.map((authority) => {
      const role = roleOf(authority.toString())
      return { role, ...describeCertificate(authority, role === 'signs' ? kept : undefined) }
    }),
    faults: faultsOf(options),
  }
}

/** @param lifetimes Those by which kip replaces it; absent: kip does not. */
function describeCertificate(
  certificate: X509Certificate,
  lifetimes?: Lifetimes,
): CertificateDescription {
  const { subject, issuer, fingerprint256: fingerprint } = certificate
  return {
    subject: oneLine(subject),
    issuer: oneLine(issuer),
    names: namesOf(certificate),
    fingerprint,
    notBefore: certificate.validFromDate.toISOString(),
    notAfter: certificate.validToDate.toISOString(),
    ...(lifetimes && {
      replacedFrom: new Date(lifeOf(certificate.toString(), lifetimes).due).toISOString(),
    }),
  }
}

function oneLine(name: string | undefined): string {
  return (name ?? '').replaceAll('\n', ', ')
}

function faultsOf({ identity, names, trusted, now }: DescribeOptions): readonly string[] {
  const [leaf, ...chain] = readCertificates(identity.certificate, 'tls.crt')
  if (leaf === undefined) return ['there is no certificate']
  const faults: string[] = []
  if (now >= leaf.validToDate.getTime()) faults.push('the certificate has ended')
  if (now < leaf.validFromDate.getTime()) faults.push('the certificate is not valid yet')
  const missing = names.filter((name) => !covers(leaf, [name]))
  if (missing.length > 0) faults.push(`the certificate does not stand for ${missing.join(', ')}`)
  if (!isSignedBy(leaf, chain, identity.bundle, now)) {
    faults.push('no valid authority in ca.crt has signed the certificate')
  }
  if (trusted !== undefined && !isSignedBy(leaf, chain, trusted, now)) {
    faults.push('the webhook configuration does not trust whoever signed the certificate')
  }
  return faults
}

/** Whether a bundle leads to the certificate, maybe over others that are served along; an empty one says nothing. */
function isSignedBy(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  bundle: string,
  now: number,
): boolean {
  if (bundle.trim() === '') return true
  const authorities = readCertificates(bundle, 'bundle')
  const signs = (certificate: X509Certificate) => (other: X509Certificate) =>
    certificate.checkIssued(other) && certificate.verify(other.publicKey)
  let certificate: X509Certificate | undefined = leaf
  for (let links = 0; certificate !== undefined && links <= chain.length; links++) {
    const signer = authorities.find(signs(certificate))
    if (signer !== undefined) return now < signer.validToDate.getTime()
    certificate = chain.find(signs(certificate))
  }
  return false
}
