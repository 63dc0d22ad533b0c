import type { RateLimit } from '../events.ts'
import type { HeaderFields } from '../http/header-fields.ts'

/**
 * Pulls left by a registry's own word: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`.
 * https://docs.docker.com/docker-hub/usage/pulls/
 */
export function readRateLimit(headers: HeaderFields): RateLimit | undefined {
  const said = headers.get('ratelimit-remaining')
  const remaining = said === undefined ? null : /^(\d{1,9})(?:;w=(\d{1,9}))?/.exec(said)
  if (remaining === null) return undefined
  const limit = /^(\d{1,9})/.exec(headers.get('ratelimit-limit') ?? '')
  return {
    remaining: Number(remaining[1]),
    ...(limit === null ? {} : { limit: Number(limit[1]) }),
    ...(remaining[2] === undefined ? {} : { windowSeconds: Number(remaining[2]) }),
  }
}
