import { createHash } from 'node:crypto'

/** 8 hex digits of the SHA-256: among the images of one shard a collision is one in 10^6, and then more digits help. */
export function shortHash(text: string, digits = 8): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits)
}
