import { faultOfAuthorities } from '@containers/image-copy'
import { ConfigError } from './config/errors.ts'
import { readNamedFile } from './config/named-files.ts'
import type { Log } from './kube/log.ts'

export interface AuthoritiesOptions {
  /** `registries.caFile`. Empty: there are none. */
  readonly caFile: string
  readonly readFile: (path: string) => string
}

/**
 * The authorities that are trusted for registries besides the system's, in PEM; empty: none.
 *
 * @throws ConfigError naming the setting and its file
 */
function readAuthorities({ caFile, readFile }: AuthoritiesOptions): string {
  if (caFile === '') return ''
  const named = { name: 'registries.caFile', path: caFile, faultOf: faultOfAuthorities }
  return readNamedFile({ ...named, readFile })
}

/**
 * Reads them now, and anew whenever they are asked for: a mounted file changes under the running program. What cannot be used
 * is told of, and the last good ones stay.
 *
 * @throws ConfigError when the first ones cannot be used
 */
export function createAuthorities({
  log,
  ...options
}: AuthoritiesOptions & { readonly log: Log }): () => string {
  let good = readAuthorities(options)
  return () => {
    try {
      good = readAuthorities(options)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const fault of error.faults)
        log.warn({ fault }, 'authorities for registries cannot be used; the last good ones stay')
    }
    return good
  }
}
