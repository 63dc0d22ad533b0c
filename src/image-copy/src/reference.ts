import { isDigest } from './digest.ts'
import { ImageReferenceError, printable } from './errors.ts'

/** An image's place, normalised: what is left out in writing is filled in. */
export interface ImageReference {
  /** `host[:port]`; `docker.io` for Docker Hub. */
  readonly registry: string
  /** Path below the registry, `library/nginx`. */
  readonly repository: string
  readonly tag?: string
  readonly digest?: string
}

// The grammar of distribution/reference (https://pkg.go.dev/github.com/distribution/reference), with the port as the only capture.
const label = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const hostPattern = new RegExp(
  `^(?:${label}(?:\\.${label})*|\\[(?:[a-fA-F0-9:]+)\\])(?::([0-9]{1,5}))?$`,
)
const component = '[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*'
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^[\w][\w.-]{0,127}$/
const hexIdentifier = /^[a-f0-9]{64}$/

/** Longest path below the registry that distribution takes, `library/` included. */
const maxRepositoryLength = 255
/** Longest DNS name, and a port: distribution sets no limit, and a longer one leads nowhere. */
const maxHostLength = 253 + ':65535'.length

/** Whether `text` is a repository path as registries take it. */
export function isRepository(text: string): boolean {
  return text.length <= maxRepositoryLength && repositoryPattern.test(text)
}

/** Whether `text` is a tag as registries take it. */
export function isTag(text: string): boolean {
  return tagPattern.test(text)
}

/** Whether `text` is `host[:port]` as it may stand in a reference. */
export function isRegistryHost(text: string): boolean {
  const found = text.length <= maxHostLength ? hostPattern.exec(text) : null
  if (found === null) return false
  const [, port] = found
  return port === undefined || (Number(port) > 0 && Number(port) < 65536)
}

/**
 * Reads an image reference as Docker and containerd do: `nginx` is `docker.io/library/nginx:latest`.
 *
 * A reference with neither tag nor digest gets the tag `latest`; with a digest alone it keeps just that; with both it
 * keeps both. Upper case is allowed in host and tag only.
 *
 * @throws ImageReferenceError naming the part that is wrong
 */
export function parseReference(text: string): ImageReference {
  const fail = (why: string): never => {
    throw new ImageReferenceError(`image reference "${printable(text, 200)}": ${why}`)
  }
  if (text === '') fail('is empty')
  if (text !== text.trim()) fail('has white space around it')
  if (text.includes('://') && /^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    fail('starts with a scheme; write host/repository:tag')
  if (hexIdentifier.test(text))
    fail('is 64 hex digits, an image ID; write repository@sha256:… instead')

  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : text.slice(at + 1)
  if (digest !== undefined && !isDigest(digest)) {
    fail('the digest must be sha256: and 64, or sha512: and 128, lower-case hex digits')
  }
  const named = at < 0 ? text : text.slice(0, at)
  const { registry, rest } = splitRegistry(named)
  const colon = rest.lastIndexOf(':')
  const path = colon < 0 ? rest : rest.slice(0, colon)
  const tag = colon < 0 ? undefined : rest.slice(colon + 1)

  if (!isRegistryHost(registry)) fail(`"${printable(registry, 100)}" is no registry host`)
  if (path === '') fail('has no repository')
  if (!repositoryPattern.test(path)) {
    if (path.toLowerCase() !== path) fail('the repository must be lower case')
    fail(
      'the repository must be of lower-case letters and digits, parted by one of . _ / or dashes',
    )
  }
  if (tag !== undefined && !isTag(tag)) {
    fail('the tag must be 1 to 128 letters, digits, _ . - and not start with . or -')
  }
  const repository = registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path
  if (repository.length > maxRepositoryLength) {
    fail(`the repository is longer than ${maxRepositoryLength} characters`)
  }
  if (tag === undefined && digest === undefined) return { registry, repository, tag: 'latest' }
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** `registry/repository[:tag][@digest]`, every part written out. */
export function formatReference(reference: ImageReference): string {
  const { registry, repository, tag, digest } = reference
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

/** The first part is a host only when it could not be a part of a Docker Hub path. */
function splitRegistry(named: string): { registry: string; rest: string } {
  const slash = named.indexOf('/')
  const first = slash < 0 ? '' : named.slice(0, slash)
  const isHost = /[.:[]/.test(first) || first === 'localhost' || first.toLowerCase() !== first
  if (slash < 0 || !isHost) return { registry: 'docker.io', rest: named }
  const rest = named.slice(slash + 1)
  return { registry: first === 'index.docker.io' ? 'docker.io' : first, rest }
}
