import type { Credential } from './credential.ts'
import type { DockerConfig } from './docker-config.ts'

/** Which credentials fit an image. */
export interface Keyring {
  /**
   * Credentials for a repository, in the order in which a kubelet tries them.
   *
   * @param host registry as it stands in a reference, `docker.io`, `registry.example.com:5000`
   */
  lookup(host: string, repository: string): readonly Credential[]
}

const defaultHost = 'index.docker.io'

/**
 * Makes a keyring with the kubelet's matching and order, so that what a node could pull can be copied, and nothing else.
 *
 * A key matches when it has the same number of host parts, each of them matches as a glob (`*.example.com`), ports are
 * equal, and its path is a prefix of the repository. Keys are tried in reverse alphabetical order, so longer paths come
 * first; equal keys in the order given. Without any match Docker Hub images take the credential of `index.docker.io`.
 * https://kubernetes.io/docs/concepts/containers/images/#config-json
 */
export function createKeyring(configs: readonly DockerConfig[]): Keyring {
  const byKey = new Map<string, Credential[]>()
  for (const config of configs) {
    for (const { key, credential } of config.entries) {
      const normal = normalizeKey(key)
      if (normal === undefined) continue
      const list = byKey.get(normal)
      if (list === undefined) byKey.set(normal, [credential])
      else list.push(credential)
    }
  }
  const index = [...byKey.entries()]
    .sort(([a], [b]) => (a < b ? 1 : a > b ? -1 : 0))
    .map(([key, credentials]) => ({ pattern: split(key), credentials }))

  return {
    lookup(host, repository) {
      const target = split(`${host}/${repository}`)
      const found = index
        .filter(({ pattern }) => matches(pattern, target))
        .flatMap(({ credentials }) => credentials)
      if (found.length > 0) return found
      const isDefault = host === 'docker.io' || host === defaultHost
      return (isDefault ? byKey.get(defaultHost) : undefined) ?? []
    },
  }
}

/** Scheme off; `/v1/` and `/v2/` are how docker writes a bare host. */
function normalizeKey(key: string): string | undefined {
  const text = /^https?:\/\//.test(key) ? key : `https://${key}`
  const found = /^https?:\/\/([^/?#]*)([^?#]*)/.exec(text)
  const host = found?.[1]?.replace(/^.*@/, '')
  if (host === undefined || host === '') return undefined
  const path = (found?.[2] ?? '').replace(/^\/v[12](?=\/)/, '')
  return path === '' || path === '/' ? host : `${host}${path}`
}

interface Place {
  readonly parts: readonly string[]
  readonly port: string
  readonly path: string
}

function split(key: string): Place {
  const slash = key.indexOf('/')
  const authority = slash < 0 ? key : key.slice(0, slash)
  const port = /:(\d+)$/.exec(authority.replace(/^\[.*\]/, ''))?.[1] ?? ''
  const host = port === '' ? authority : authority.slice(0, -port.length - 1)
  return {
    parts: host.replace(/^\[(.*)\]$/, '$1').split('.'),
    port,
    path: slash < 0 ? '' : key.slice(slash),
  }
}

function matches(pattern: Place, target: Place): boolean {
  return (
    pattern.port === target.port &&
    pattern.parts.length === target.parts.length &&
    target.path.startsWith(pattern.path) &&
    pattern.parts.every((part, i) => globMatches(part, target.parts[i] ?? ''))
  )
}

/** Go's filepath.Match within one host part: `*`, `?`, `[a-z]`, `[^a]`, backslash. */
function globMatches(pattern: string, text: string): boolean {
  let source = ''
  for (let i = 0; i < pattern.length; i += 1) {
    const char = pattern[i] ?? ''
    if (char === '*') source += '[^/]*'
    else if (char === '?') source += '[^/]'
    else if (char === '[') {
      const end = pattern.indexOf(']', i + 2)
      if (end < 0) return false
      const set = pattern.slice(i + 1, end)
      source += `[${set.replace(/[\\\]&~|]/g, '\\$&')}]`
      i = end
    } else {
      if (char === '\\') i += 1
      source += (char === '\\' ? (pattern[i] ?? '') : char).replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
    }
  }
  try {
    return new RegExp(`^${source}$`).test(text)
  } catch {
    return false
  }
}
