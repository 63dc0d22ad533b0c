import 'reflect-metadata'
import { createPrivateKey, type KeyObject, randomBytes, webcrypto } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** A certificate and its private key, both PEM. */
export interface Identity {
  readonly certificate: string
  readonly key: string
}

export interface CertificateRequest {
  readonly commonName: string
  /** The user's group, to Kubernetes. */
  readonly organization?: string
  /** DNS names and IP addresses of a server. */
  readonly hosts?: readonly string[]
  /** Default: `server` when there are hosts, else `client`. */
  readonly usages?: readonly ('server' | 'client')[]
}

/** The certificate authority of one cluster, trusted by its components, its registries and its tests, by nobody else. */
export interface Authority {
  /** PEM, and where it lies as a file. */
  readonly certificate: string
  readonly certificateFile: string
  /** Of the private key, for the controller manager's signer. */
  readonly keyFile: string
  issue(request: CertificateRequest): Promise<Identity>
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const YEAR_MS = 365 * 24 * 3600 * 1000
/** The clock of whoever checks may be a little behind. */
const SKEW_MS = 5 * 60 * 1000

/** Opens the authority in a folder, or makes it there (`ca.crt`, `ca.key`). */
export async function openAuthority(folder: string): Promise<Authority> {
  const certificateFile = join(folder, 'ca.crt')
  const keyFile = join(folder, 'ca.key')
  if (!existsSync(certificateFile)) {
    const made = await makeAuthority()
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(keyFile, made.key, { mode: 0o600 })
    await writeFile(certificateFile, made.certificate)
  }
  const certificate = await readFile(certificateFile, 'utf8')
  const issuer = new X509Certificate(certificate)
  const signingKey = await importKey(createPrivateKey(await readFile(keyFile, 'utf8')))
  return {
    certificate,
    certificateFile,
    keyFile,
    issue: (request) => issue(request, issuer, signingKey),
  }
}

/** A new P-256 key as PKCS #8 PEM, for signing and checking service account tokens too. */
export async function newPrivateKey(): Promise<string> {
  return exportKey(
    (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])).privateKey,
  )
}

async function makeAuthority(): Promise<Identity> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const usage = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...validity(),
    name: 'CN=kip test CA',
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(usage, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) }
}

async function issue(
  request: CertificateRequest,
  issuer: X509Certificate,
  signingKey: webcrypto.CryptoKey,
): Promise<Identity> {
  const hosts = request.hosts ?? []
  const usages = request.usages ?? [hosts.length > 0 ? 'server' : 'client']
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const organization = request.organization ? [{ O: [request.organization] }] : []
  const names = hosts.map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value }) as const)
  const certificate = await X509CertificateGenerator.create({
    ...validity(),
    subject: [...organization, { CN: [request.commonName] }],
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(
        usages.map((usage) => ExtendedKeyUsage[usage === 'server' ? 'serverAuth' : 'clientAuth']),
      ),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
    ],
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) }
}

function validity(): { serialNumber: string; notBefore: Date; notAfter: Date } {
  const serial = randomBytes(16)
  // A serial number is a positive integer: its first bit is 0.
  serial[0] = (serial[0] ?? 0) & 0x7f
  const now = Date.now()
  return {
    serialNumber: serial.toString('hex'),
    notBefore: new Date(now - SKEW_MS),
    notAfter: new Date(now + YEAR_MS),
  }
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`
}

async function importKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const bytes = key.export({ format: 'der', type: 'pkcs8' })
  return webcrypto.subtle.importKey('pkcs8', bytes, ALGORITHM, false, ['sign'])
}
