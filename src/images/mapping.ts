import { createHash } from 'node:crypto'
import type { ImageReference } from '@containers/image-copy'
import { MappingError } from './errors.ts'

/** Where the backup copy of an image lies, and back. */
export interface Mapping {
  /** The backup as set: `host[:port][/path]`; empty: there is none. The key of `CachedImage` mirrors. */
  readonly registry: string
  /** Its host, as references have it; empty: there is no backup. */
  readonly host: string
  /**
   * The backup copy of a source: a tag, never a digest.
   *
   * @throws MappingError `KIP_MAPPING_NO_BACKUP` when no backup is set, `KIP_MAPPING_DIGEST` for a digest that is
   *   neither SHA-256 nor SHA-512.
   */
  backupOf(source: ImageReference): ImageReference
  /**
   * The source of a backup reference. A digest beside a tag is dropped, since a rewritten pod names the backup's tag and
   * the verified digest; a reference by digest alone gives the source by that digest.
   *
   * @returns undefined when the reference is no backup copy, or (`flat`) when the source cannot be computed.
   */
  sourceOf(reference: ImageReference): ImageReference | undefined
  /** Whether a reference lies in the place that holds the copies, and so is never copied there again. */
  isBackup(reference: ImageReference): boolean
}

/** How sources are laid out in the backup. */
export interface MappingOptions {
  /** `host[:port][/path]`; empty: no backup. */
  readonly registry: string
  /** `path` keeps host and repository below the backup; `flat` is imgCloneCtrl's one repository. */
  readonly mapping: 'path' | 'flat'
}

interface Backup {
  readonly host: string
  readonly path: string
}

// The distribution grammar allows 128 characters in a tag, and 255 in a name with its host.
const tagLimit = 128
const nameLimit = 255
const digestTag = /^kip-(sha\d+)-([A-Za-z0-9_-]+)$/
const digestBytes = new Map([
  ['sha256', 32],
  ['sha512', 64],
])

/**
 * Maps sources to their backup copies.
 *
 * `path`: `docker.io/library/nginx:1` becomes `<backup>/docker.io/library/nginx:1`. The ':' of a port becomes '_',
 * which no host name holds, so no two sources share a copy and every copy tells its source. A source with a digest gets
 * the tag `kip-sha256-<hex>`, so that a moved tag never overwrites a pin (not `sha256-<hex>`, which is the tag that the
 * OCI referrers fallback uses); a tag beside the digest is lost, as it is for the kubelet. A name that would be longer
 * than a registry takes becomes `<backup>/kip-long/<hash>`, which alone does not tell its source.
 *
 * `flat`: `quay.io/a/b:t` becomes `<backup>:a_b_t`. The host is lost and '_' is ambiguous, so two sources may share a
 * copy: whoever writes copies compares what {@link Mapping.backupOf} gives for all of them.
 */
export function createMapping(options: MappingOptions): Mapping {
  const { registry } = options
  const backup = splitRegistry(registry)
  if (backup === undefined) {
    return {
      registry: '',
      host: '',
      backupOf: () => {
        throw new MappingError('KIP_MAPPING_NO_BACKUP', 'no backup registry: set mirror.registry')
      },
      sourceOf: () => undefined,
      isBackup: () => false,
    }
  }
  return options.mapping === 'flat' ? flatMapping(registry, backup) : pathMapping(registry, backup)
}

function splitRegistry(registry: string): Backup | undefined {
  if (registry === '') return undefined
  const [host = '', ...path] = registry.split('/')
  return { host: host === 'index.docker.io' ? 'docker.io' : host, path: path.join('/') }
}

function pathMapping(registry: string, { host, path }: Backup): Mapping {
  const prefix = path === '' ? '' : `${path}/`
  const isBackup = (reference: ImageReference): boolean =>
    reference.registry === host && reference.repository.startsWith(prefix)

  return {
    registry,
    host,
    isBackup,
    backupOf: (source) => ({
      registry: host,
      repository: prefix + placeOf(source, nameLimit - `${host}/${prefix}`.length),
      tag: backupTag(source),
    }),
    sourceOf(reference) {
      if (!isBackup(reference)) return undefined
      const [segment = '', ...rest] = reference.repository.slice(prefix.length).split('/')
      const origin = decodeHost(segment)
      const repository = rest.join('/')
      if (origin === undefined || !isNormalised(origin, repository)) return undefined
      const name = sourceName(reference)
      return name && { registry: origin, repository, ...name }
    },
  }
}

function flatMapping(registry: string, { host, path }: Backup): Mapping {
  return {
    registry,
    host,
    isBackup: (reference) => reference.registry === host && reference.repository === path,
    backupOf: (source) => ({ registry: host, repository: path, tag: flatTag(source) }),
    sourceOf: () => undefined,
  }
}

function placeOf({ registry, repository }: ImageReference, limit: number): string {
  const place = `${encodeHost(registry)}/${repository}`
  return place.length <= limit ? place : `kip-long/${sha256(place)}`
}

/** Unlike imgCloneCtrl's, a pin has a tag of its own (it made an unparsable one), and so has a name over the limit. */
function flatTag(source: ImageReference): string {
  // One repository: equal digests are equal bytes, whatever they are called.
  if (source.digest !== undefined) return tagOfDigest(source.digest)
  const official = source.registry === 'docker.io' && source.repository.startsWith('library/')
  const name = official ? source.repository.slice('library/'.length) : source.repository
  const tag = `${name.replaceAll('/', '_')}_${source.tag ?? 'latest'}`
  if (tag.length <= tagLimit) return tag
  const full = `${source.registry}/${source.repository}:${source.tag ?? 'latest'}`
  return `kip-ref-${sha256(full)}`
}

function backupTag(source: ImageReference): string {
  if (source.digest !== undefined) return tagOfDigest(source.digest)
  const tag = source.tag ?? 'latest'
  // The source may be somebody's kip backup itself: its tags must not read as pins of this one.
  return tag.startsWith('kip-') ? `kip-${tag}` : tag
}

function sourceName(reference: ImageReference): { tag: string } | { digest: string } | undefined {
  const { tag, digest } = reference
  if (tag === undefined) return digest === undefined ? { tag: 'latest' } : { digest }
  if (!tag.startsWith('kip-')) return { tag }
  if (tag.startsWith('kip-kip-')) return { tag: tag.slice('kip-'.length) }
  const pinned = digestOfTag(tag)
  return pinned === undefined ? undefined : { digest: digest ?? pinned }
}

/** SHA-512 in hex is longer than a tag may be, so it stands in base64url, whose characters a tag may have. */
function tagOfDigest(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  if (!digestBytes.has(algorithm)) {
    throw new MappingError(
      'KIP_MAPPING_DIGEST',
      `${digest}: the digest's algorithm is none of ${[...digestBytes.keys()].join(', ')}`,
    )
  }
  const text = algorithm === 'sha512' ? Buffer.from(hex, 'hex').toString('base64url') : hex
  return `kip-${algorithm}-${text}`
}

function digestOfTag(tag: string): string | undefined {
  const [, algorithm = '', text = ''] = digestTag.exec(tag) ?? []
  const bytes = Buffer.from(text, algorithm === 'sha512' ? 'base64url' : 'hex')
  if (bytes.length !== digestBytes.get(algorithm)) return undefined
  const digest = `${algorithm}:${bytes.toString('hex')}`
  return tagOfDigest(digest) === tag ? digest : undefined
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

const plainHost = /^[a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*(?::\d+)?$/

/** A host as one path component; hosts with capitals and IPv6 addresses, which none can spell, stand in hex. */
function encodeHost(host: string): string {
  if (plainHost.test(host)) return host.replace(':', '_')
  return `x__${Buffer.from(host).toString('hex')}`
}

function decodeHost(segment: string): string | undefined {
  const host = segment.startsWith('x__')
    ? Buffer.from(segment.slice('x__'.length), 'hex').toString()
    : segment.replace('_', ':')
  return encodeHost(host) === segment ? host : undefined
}

/** Whether a reference of this host and repository can come from normalising what a user writes. */
function isNormalised(host: string, repository: string): boolean {
  if (repository === '' || host === 'index.docker.io') return false
  if (host === 'docker.io') return repository.includes('/')
  return host === 'localhost' || /[.:A-Z]/.test(host)
}
