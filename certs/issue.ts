import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type * as X509 from '@peculiar/x509'
import { CertificateError } from './errors.ts'
import type { Authority, ServingPair } from './identity.ts'
import type { Lifetimes } from './lifetimes.ts'
import { readCertificate } from './pem.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const signature = { name: 'ECDSA', hash: 'SHA-256' } as const

interface IssueOptions {
  readonly now: number
  readonly lifetimes: Lifetimes
}

/**
 * Makes a new certificate authority: ECDSA P-256, for TLS servers and nothing below it.
 *
 * Its subject is unique: clients that trust two authorities of ours at once must be able to tell them apart.
 */
export async function issueAuthority({ now, lifetimes }: IssueOptions): Promise<Authority> {
  const x509 = await loadIssuer()
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=kip webhook authority ${randomBytes(4).toString('hex')}`,
    serialNumber: serialNumber(),
    notBefore: new Date(now - lifetimes.backdateMs),
    notAfter: new Date(now + lifetimes.authorityMs),
    signingAlgorithm: signature,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: textOf(certificate), key: pemOf(keys.privateKey) }
}

/**
 * Makes a serving key and has the authority sign it for the names; it never outlives its authority.
 *
 * @param options.names Host names and IP addresses, at least one.
 * @throws CertificateError `KIP_CERTS_NAMES` without a name.
 */
export async function issueServing(
  authority: Authority,
  options: IssueOptions & { readonly names: readonly string[] },
): Promise<ServingPair> {
  const { now, lifetimes, names } = options
  const [first] = names
  if (first === undefined) {
    throw new CertificateError('KIP_CERTS_NAMES', 'a serving certificate needs at least one name')
  }
  const x509 = await loadIssuer()
  const parent = new x509.X509Certificate(authority.certificate)
  const limit = readCertificate(authority.certificate, 'authority').validToDate.getTime()
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    // A common name holds 64 characters and nobody reads it for a host any more.
    subject: [{ CN: [first.slice(0, 64)] }],
    issuer: parent.subject,
    serialNumber: serialNumber(),
    notBefore: new Date(now - lifetimes.backdateMs),
    notAfter: new Date(Math.min(now + lifetimes.servingMs, limit)),
    signingAlgorithm: signature,
    publicKey: keys.publicKey,
    signingKey: createPrivateKey(authority.key).toCryptoKey(algorithm, false, ['sign']),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(parent.publicKey),
    ],
  })
  return { certificate: textOf(certificate), key: pemOf(keys.privateKey) }
}

/** The library takes 150 ms and 18 MB, which a replica that only serves never needs. */
async function loadIssuer(): Promise<typeof X509> {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

/** As a Secret gives it back, so that what was just made and what is read again are the same text. */
function textOf(certificate: X509.X509Certificate): string {
  return new X509Certificate(Buffer.from(certificate.rawData)).toString().trim()
}

function pemOf(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString().trim()
}

/** RFC 5280, 4.1.2.2: positive, not zero, at most 20 octets; 128 random bits cannot collide. */
function serialNumber(): string {
  return `01${randomBytes(16).toString('hex')}`
}
