import { cryptoModule } from '../crypto-module.ts'

const certificate = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs
const begin = /-----BEGIN CERTIFICATE-----/g

/**
 * Reads authorities as TLS will, to tell what it would not: Node passes over a text without certificates, and over all that
 * comes after one that it cannot read.
 *
 * @param pem certificates in PEM, with any text between them
 * @returns what is wrong with the text, as the rest of a sentence; undefined: nothing
 */
export function faultOfAuthorities(pem: string): string | undefined {
  const begun = pem.match(begin)?.length ?? 0
  if (begun === 0) return 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)'
  const whole = pem.match(certificate) ?? []
  const broken = whole.findIndex((text) => !isCertificate(text))
  if (broken < 0 && whole.length === begun) return undefined
  const number = broken < 0 ? whole.length + 1 : broken + 1
  return `holds a PEM certificate that cannot be read: number ${number} of ${begun}`
}

function isCertificate(pem: string): boolean {
  const { X509Certificate } = cryptoModule()
  try {
    new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}
