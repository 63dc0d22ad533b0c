import type { Hash } from 'node:crypto'
import { cryptoModule } from './crypto-module.ts'
import { type Party, RegistryError } from './errors.ts'

/** Digest algorithms that the OCI image specification registers. */
export type DigestAlgorithm = 'sha256' | 'sha512'

/**
 * The only digests that are believed: anything looser could carry a path or a query into a request.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
const digestPattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/

/** Whether `text` is a well-formed sha256 or sha512 digest. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && digestPattern.test(text)
}

/** The algorithm of a digest for which {@link isDigest} holds. */
export function algorithmOf(digest: string): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** Hashes a stream of bytes with the algorithm of `digest`. */
export function createDigester(digest: string): Hash {
  return cryptoModule().createHash(algorithmOf(digest))
}

/** The digest of `bytes`. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${cryptoModule().hash(algorithm, bytes, 'hex')}`
}

/**
 * Holds `bytes` against the digest they were asked for by.
 *
 * @throws RegistryError `COPY_DIGEST_MISMATCH`
 */
export function requireDigest(bytes: Uint8Array, digest: string, what: string, party: Party): void {
  const actual = digestOf(bytes, algorithmOf(digest))
  if (actual !== digest) {
    throw new RegistryError(
      'COPY_DIGEST_MISMATCH',
      `${what} on ${party.host}: the bytes have digest ${actual}, not ${digest}; they were altered on the way or in the registry's storage`,
      party,
    )
  }
}
