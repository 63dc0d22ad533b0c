import { isUtf8 } from 'node:buffer'
import { algorithmOf, digestOf, isDigest } from '../digest.ts'
import { type Party, printable, RegistryError } from '../errors.ts'
import {
  isForeignType,
  isIndexType,
  isManifestType,
  isSchema1Type,
  ociIndex,
  ociManifest,
} from './media-types.ts'
import { normalizePlatform, type Platform } from './platform.ts'

/** Names bytes by what they are, how many, and their digest. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: Platform | undefined
  readonly artifactType?: string | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** Where a foreign layer's bytes are. */
  readonly urls?: readonly string[] | undefined
}

/** A manifest as far as copying needs it. Its bytes are kept beside it and never written anew. */
export type Manifest =
  | {
      readonly kind: 'index'
      readonly mediaType: string
      readonly manifests: readonly Descriptor[]
      readonly subject?: Descriptor | undefined
      readonly artifactType?: string | undefined
      readonly annotations?: Readonly<Record<string, string>> | undefined
    }
  | {
      readonly kind: 'image'
      readonly mediaType: string
      /** Config first, then layers. Foreign layers are among them. */
      readonly blobs: readonly Descriptor[]
      readonly config?: Descriptor | undefined
      readonly subject?: Descriptor | undefined
      readonly artifactType?: string | undefined
      readonly annotations?: Readonly<Record<string, string>> | undefined
    }

/** What registries themselves take (distribution: 4 MiB). */
export const maxManifestBytes: number = 4 * 1024 * 1024
/** Far above what images have, and small enough that a hostile index makes no storm of requests. */
const maxManifestsPerIndex = 1000
const maxBlobsPerManifest = 2000

/** Whether the layer's bytes are not in the registry. */
export function isForeign(descriptor: Descriptor): boolean {
  return (
    isForeignType(descriptor.mediaType) ||
    (descriptor.urls !== undefined && descriptor.urls.length > 0)
  )
}

/**
 * Reads a manifest and refuses what two readers could take differently: a media type in the body that is not the one
 * announced, or a document that is both an index and an image (CVE-2021-41190).
 *
 * @param party whom it is from
 * @param announced media type from Content-Type or from the descriptor that led here; empty: none
 * @throws RegistryError `COPY_MANIFEST_INVALID` or `COPY_MANIFEST_UNSUPPORTED`
 */
export function parseManifest(
  bytes: Uint8Array,
  announced: string,
  where: string,
  party: Party,
): Manifest {
  const invalid: Invalid = (why) =>
    new RegistryError('COPY_MANIFEST_INVALID', `manifest ${where}: ${why}`, party)
  let root: unknown
  try {
    if (!isUtf8(bytes)) throw new TypeError('not UTF-8')
    root = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString())
  } catch (cause) {
    throw new RegistryError('COPY_MANIFEST_INVALID', `manifest ${where}: is not JSON in UTF-8`, {
      ...party,
      cause,
    })
  }
  if (!isRecord(root)) throw invalid('is not a JSON object')
  const mediaType = mediaTypeOf(root, announced, invalid)
  if (isSchema1Type(mediaType) || root.schemaVersion === 1) {
    throw new RegistryError(
      'COPY_MANIFEST_UNSUPPORTED',
      `manifest ${where}: is Docker schema 1, which registries and container runtimes have dropped; build or push the image anew`,
      party,
    )
  }
  const index = isIndexType(mediaType)
  if (!index && !isManifestType(mediaType)) {
    throw new RegistryError(
      'COPY_MANIFEST_UNSUPPORTED',
      `manifest ${where}: has media type "${printable(mediaType, 100)}", which is no image or index`,
      party,
    )
  }
  const hasImageParts = ['config', 'layers', 'fsLayers', 'blobs'].some(
    (key) => root[key] !== undefined,
  )
  if (index ? hasImageParts : root.manifests !== undefined)
    throw invalid('is an image and an index in one')
  const common = {
    mediaType,
    subject:
      root.subject === undefined ? undefined : readDescriptor(root.subject, 'subject', invalid),
    artifactType: text(root, 'artifactType', '', invalid),
    annotations: readAnnotations(root.annotations, 'annotations', invalid),
  }
  if (index) {
    const manifests = readList(root.manifests, 'manifests', maxManifestsPerIndex, invalid)
    return { kind: 'index', ...common, manifests }
  }
  const config =
    root.config === undefined ? undefined : readDescriptor(root.config, 'config', invalid)
  const layers = readList(root.layers ?? root.blobs, 'layers', maxBlobsPerManifest, invalid)
  return {
    kind: 'image',
    ...common,
    config,
    blobs: config === undefined ? layers : [config, ...layers],
  }
}

type Invalid = (why: string) => RegistryError

function mediaTypeOf(root: Record<string, unknown>, announced: string, invalid: Invalid): string {
  const said = text(root, 'mediaType', '', invalid) ?? ''
  const header = (announced.split(';')[0] ?? '').trim().toLowerCase()
  // Generic types say nothing; some registries and static servers send them.
  const known =
    header === 'application/json' ||
    header === 'application/octet-stream' ||
    header === 'text/plain'
      ? ''
      : header
  if (said !== '' && known !== '' && said !== known) {
    throw invalid(
      `says it is ${printable(said, 100)}, and was announced as ${printable(known, 100)}`,
    )
  }
  if (said !== '' || known !== '') return said || known
  // OCI leaves mediaType optional; the shape then tells.
  if (Array.isArray(root.manifests)) return ociIndex
  return Array.isArray(root.layers) ? ociManifest : ''
}

function readList(value: unknown, field: string, limit: number, invalid: Invalid): Descriptor[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalid(`${field} is no list`)
  if (value.length > limit)
    throw invalid(`${field} has ${value.length} entries; at most ${limit} are taken`)
  return value.map((entry, i) => readDescriptor(entry, `${field}[${i}]`, invalid))
}

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
export function readDescriptor(value: unknown, field: string, invalid: Invalid): Descriptor {
  if (!isRecord(value)) throw invalid(`${field} is no descriptor`)
  const { digest, size } = value
  if (!isDigest(digest))
    throw invalid(`${field}.digest is neither sha256 nor sha512 in lower-case hex`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${field}.size is no size`)
  const data = text(value, 'data', field, invalid)
  if (data !== undefined && !carries(data, digest, size))
    throw invalid(`${field}.data is not what its digest names`)
  const urls = value.urls
  if (
    urls !== undefined &&
    urls !== null &&
    !(Array.isArray(urls) && urls.every((url) => typeof url === 'string'))
  ) {
    throw invalid(`${field}.urls is no list of texts`)
  }
  return {
    mediaType: text(value, 'mediaType', field, invalid) ?? '',
    digest,
    size,
    platform:
      value.platform === undefined
        ? undefined
        : readPlatform(value.platform, `${field}.platform`, invalid),
    artifactType: text(value, 'artifactType', field, invalid),
    annotations:
      value.annotations === undefined
        ? undefined
        : readAnnotations(value.annotations, `${field}.annotations`, invalid),
    ...(Array.isArray(urls) ? { urls: urls as string[] } : {}),
  }
}

function carries(data: string, digest: string, size: number): boolean {
  const bytes = Buffer.from(data, 'base64')
  return bytes.length === size && digestOf(bytes, algorithmOf(digest)) === digest
}

function readPlatform(value: unknown, field: string, invalid: Invalid): Platform | undefined {
  if (value === undefined || value === null) return undefined
  if (!isRecord(value)) throw invalid(`${field} is no object`)
  const os = text(value, 'os', field, invalid) ?? ''
  const architecture = text(value, 'architecture', field, invalid) ?? ''
  const variant = text(value, 'variant', field, invalid)
  const osVersion = text(value, 'os.version', field, invalid)
  return normalizePlatform({ os, architecture, variant, osVersion })
}

function readAnnotations(
  value: unknown,
  field: string,
  invalid: Invalid,
): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined
  if (!isRecord(value)) throw invalid(`${field} is no object`)
  const entries = Object.entries(value).map(([key, entry]): [string, string] => {
    if (typeof entry !== 'string') throw invalid(`${field}["${printable(key, 60)}"] is no text`)
    return [key, entry]
  })
  return Object.fromEntries(entries)
}

/** The text under `key`; @param field the record's own name in messages, '' for the manifest itself */
function text(
  record: Record<string, unknown>,
  key: string,
  field: string,
  invalid: Invalid,
): string | undefined {
  const value = record[key]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string')
    throw invalid(`${field === '' ? key : `${field}.${key}`} is no text`)
  return value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
