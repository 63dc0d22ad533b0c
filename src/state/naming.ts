import { createHash } from 'node:crypto'
import { parseReference } from '@containers/image-copy'

/** A DNS subdomain may have 253 characters; the hash takes 33 of them, and names stay readable with room to spare. */
const slugLimit = 200
/** 128 bits: two references of one name are not met by chance, and not found by 2^64 tries. */
const hashDigits = 32
/** Of a pin's digest, as many digits as people compare by eye. */
const shownDigest = 12

/**
 * Name of the object that stands for a reference: `nginx-1.27-<32 hex digits of the reference's SHA-256>`.
 *
 * The slug before the hash is for people only: the last part of the repository, and the tag or the start of the digest.
 * The whole reference has a column of its own.
 *
 * @param reference normalised, as `formatReference` writes it
 * @returns a DNS subdomain (RFC 1123) of at most 233 characters
 */
export function objectName(reference: string): string {
  const hash = createHash('sha256').update(reference).digest('hex').slice(0, hashDigits)
  const slug = slugOf(reference)
  return slug === '' ? hash : `${slug}-${hash}`
}

function slugOf(reference: string): string {
  const { repository, tag, digest } = parseReference(reference)
  const name = repository.slice(repository.lastIndexOf('/') + 1)
  const version = tag ?? digest?.slice(digest.indexOf(':') + 1).slice(0, shownDigest) ?? ''
  return `${name}-${version}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/[.-]*\.[.-]*/g, '.')
    .slice(0, slugLimit)
    .replaceAll(/^[.-]+|[.-]+$/g, '')
}
