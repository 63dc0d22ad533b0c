import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { CertificateError } from './errors.ts'

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** The certificates of a PEM text as they stand there, unread. */
export function certificatesIn(pem: string): readonly string[] {
  return pem.match(certificateBlock) ?? []
}

/**
 * Reads all certificates of a PEM text, in their order.
 *
 * @param what Names the text in errors: `tls.crt of secret x/y`.
 * @throws CertificateError `KIP_CERTS_INVALID` when there is none, or one does not parse.
 */
export function readCertificates(pem: string, what: string): readonly X509Certificate[] {
  const blocks = certificatesIn(pem)
  if (blocks.length === 0) {
    throw new CertificateError('KIP_CERTS_INVALID', `${what}: holds no PEM certificate`)
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      throw new CertificateError(
        'KIP_CERTS_INVALID',
        `${what}: certificate ${index + 1} of ${blocks.length} does not parse`,
        { cause },
      )
    }
  })
}

/** Reads the first certificate of a PEM text: of a chain, the one that is served. */
export function readCertificate(pem: string, what: string): X509Certificate {
  const [first] = readCertificates(pem, what)
  if (first === undefined) throw new CertificateError('KIP_CERTS_INVALID', `${what}: is empty`)
  return first
}

/**
 * Reads an unencrypted PEM private key.
 *
 * @throws CertificateError `KIP_CERTS_INVALID`; its cause is left out, since it may quote the key.
 */
export function readKey(pem: string, what: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw new CertificateError('KIP_CERTS_INVALID', `${what}: is no unencrypted PEM private key`)
  }
}

/**
 * Checks that a certificate (the first of a chain) and a key belong together.
 *
 * @throws CertificateError `KIP_CERTS_MISMATCH` when they do not.
 */
export function checkPair(certificate: string, key: string, what: string): void {
  if (!readCertificate(certificate, what).checkPrivateKey(readKey(key, what))) {
    throw new CertificateError('KIP_CERTS_MISMATCH', `${what}: certificate and key do not match`)
  }
}

/** Whether a certificate may be shown under every one of the names, host names or IP addresses. */
export function covers(certificate: X509Certificate, names: readonly string[]): boolean {
  return names.every((name) =>
    isIP(name) === 0
      ? certificate.checkHost(name, { subject: 'never' }) !== undefined
      : certificate.checkIP(name) !== undefined,
  )
}

/** Host names and IP addresses that a certificate stands for. */
export function namesOf({ subjectAltName = '' }: X509Certificate): readonly string[] {
  return subjectAltName
    .split(', ')
    .filter((name) => name !== '')
    .map((name) => name.replace(/^(?:DNS|IP Address):/, ''))
}

/** Whether two PEM texts hold the same certificates, one at least, whatever their order and white space. */
export function sameCertificates(a: string, b: string): boolean {
  const prints = (pem: string): string => {
    const blocks = certificatesIn(pem)
    return [...new Set(blocks.map((block) => block.replace(/\s/g, '')))].sort().join()
  }
  return prints(a) !== '' && prints(a) === prints(b)
}

/** Whether a bundle holds a certificate. */
export function holds(bundle: string, certificate: string): boolean {
  const squeeze = (pem: string): string => pem.replace(/\s/g, '')
  return squeeze(bundle).includes(squeeze(certificate))
}
